"""Weights that an engine quantizes as it loads them: what a step reads of them, what loading takes.

On disk they are the original's. What becomes 8 or 4 bits follows the libraries: PyTorch's dynamic
quantization takes every `nn.Linear` with the head, which it copies where it shares the table of
embeddings; bitsandbytes leaves the head, and takes GPT-2's `Conv1D` too, which PyTorch leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from quantswarm.models import hf_folder, weight_parts
from quantswarm.models.artefact import Artefact
from quantswarm.models.weight_parts import (
    EMBEDDINGS,
    HEAD,
    LAYERS,
    Part,
    Weights,
    merged,
)

CONV1D = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})
"""Values of `model_type` whose layers are `Conv1D`, not `nn.Linear`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLoad:
    """`bits` a weight with its share of the scales, `kind` is what they are called."""

    kind: str
    bits: float
    head: bool
    conv1d: bool


QUANTS: Mapping[str, AtLoad] = {
    "int8-dynamic": AtLoad(kind="int8", bits=8.0, head=True, conv1d=False),
    "bnb-int8": AtLoad(kind="int8", bits=8.0, head=False, conv1d=True),
    # Blocks of 64 share a scale of 8 bits, and 256 of those a float32.
    "bnb-nf4": AtLoad(kind="nf4", bits=4 + 8 / 64 + 32 / (64 * 256), head=False, conv1d=True),
}
"""By the recipe's name."""


def of_artefact(artefact: Artefact) -> Weights:
    """`weight_parts.of_artefact`, as held once they are loaded."""
    found = weight_parts.of_artefact(artefact)
    if artefact.quant not in QUANTS:
        return found
    return held(found, artefact.quant, conv1d=_has_conv1d(artefact))


def held(weights: Weights, quant: str, *, conv1d: bool = False) -> Weights:
    """With the layers that `quant` quantizes in place of the stored ones; others as they are."""
    how = QUANTS.get(quant)
    if how is None:
        return weights
    return replace(weights, parts=merged(_parts(weights, how, conv1d=conv1d)))


def loading_bytes(artefact: Artefact, dtype: str) -> int:
    """What the weights take at most while they are loaded, plain ones held as `dtype`. PyTorch
    quantizes a model that is whole, one layer after another; bitsandbytes as each is read."""
    found = weight_parts.of_artefact(artefact)
    if artefact.quant not in QUANTS:
        return sum(part.held_bytes(dtype) for part in found.parts)
    after = held(found, artefact.quant, conv1d=_has_conv1d(artefact))
    quantized = sum(part.held_bytes(dtype) for part in after.parts)
    if artefact.quant != "int8-dynamic":
        return quantized
    return max(quantized, sum(part.held_bytes(dtype) for part in found.parts))


def _has_conv1d(artefact: Artefact) -> bool:
    asked = f"weights of {artefact.model}"
    config: Mapping[str, Any] = hf_folder.inspect(artefact.path, asked).config
    return config.get("model_type") in CONV1D


def _parts(weights: Weights, how: AtLoad, *, conv1d: bool) -> Iterator[Part]:
    for part in weights.parts:
        tied = part.component == EMBEDDINGS and part.read
        takes = {LAYERS: how.conv1d or not conv1d, HEAD: how.head}.get(part.component, False)
        if part.plain and part.parameters and takes:
            yield _quantized(part, how)
        elif tied and how.head:
            yield replace(part, read=False)
            yield _quantized(replace(part, component=HEAD), how)
        else:
            yield part


def _quantized(part: Part, how: AtLoad) -> Part:
    return replace(
        part,
        kind=how.kind,
        stored_bytes=round(part.parameters * how.bits / 8),
        elements=part.parameters,
        plain=False,
        read=True,
    )
