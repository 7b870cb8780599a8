"""How large each part of a model is, with the bits that one of its weights takes.

Scales, zeros and orders are bytes of the weights that they belong to, so that a weight of a 4-bit
layer takes more than 4 bits. A table of embeddings that is the head too is one part, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quantswarm.models.weight_parts import (
    BESIDE_KINDS,
    EMBEDDINGS,
    HEAD,
    LAYERS,
    NORMS,
    OTHER,
    Part,
)

LINEAR, LM_HEAD = "linear", "lm_head"
PARTS = (LINEAR, EMBEDDINGS, LM_HEAD, NORMS, OTHER)
_NAMED: Mapping[str, str] = {
    LAYERS: LINEAR,
    EMBEDDINGS: EMBEDDINGS,
    HEAD: LM_HEAD,
    NORMS: NORMS,
    OTHER: OTHER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSize:
    """Everything stored as `dtype` in one part. `parameters` are the model's numbers, vectors
    too; `tied` says that these embeddings are the language model's head as well."""

    part: str
    size_bytes: int
    parameters: int
    dtype: str
    plain: bool
    tied: bool = False

    @property
    def bits_per_weight(self) -> float | None:
        """What lies beside the weights is in it; None where it stands for no weight."""
        return 8 * self.size_bytes / self.parameters if self.parameters else None

    def as_json(self) -> dict[str, Any]:
        """As manifests and summaries hold it."""
        return {
            "part": self.part,
            "bytes": self.size_bytes,
            "parameters": self.parameters,
            "dtype": self.dtype,
            "bits_per_weight": self.bits_per_weight,
            "plain": self.plain,
            "tied": self.tied,
        }


def sizes(parts: Iterable[Part]) -> tuple[PartSize, ...]:
    """By part in their order, the largest type of each first; all bytes are counted once."""
    stored = list(parts)
    found: list[PartSize] = []
    for name in PARTS:
        mine = [part for part in stored if _NAMED[part.component] == name]
        found += sorted(_of_part(name, mine), key=lambda size: -size.size_bytes)
    return tuple(found)


def bits_per_weight(parts: Iterable[PartSize]) -> float | None:
    """Of all parts together; None without any weight."""
    known = list(parts)
    weights = sum(part.parameters for part in known)
    return 8 * sum(part.size_bytes for part in known) / weights if weights else None


def _of_part(name: str, mine: list[Part]) -> list[PartSize]:
    sums: dict[tuple[str, bool, bool], list[int]] = {}
    beside: dict[str, int] = {}
    for part in mine:
        if part.kind in BESIDE_KINDS:
            beside[part.kind] = beside.get(part.kind, 0) + part.stored_bytes
            continue
        tied = part.component == EMBEDDINGS and part.read
        found = sums.setdefault((part.kind, part.plain, tied), [0, 0])
        found[0] += part.stored_bytes
        found[1] += part.logical
    quantized = [key for key in sums if not key[1]]
    if quantized:
        # Of several quantized types in one part, headers do not tell whose scales are whose.
        largest = max(quantized, key=lambda key: sums[key][0])
        sums[largest][0] += sum(beside.values())
        beside = {}
    alone = {(kind, False, False): [size, 0] for kind, size in beside.items()}
    return [
        PartSize(part=name, size_bytes=size, parameters=count, dtype=kind, plain=plain, tied=tied)
        for (kind, plain, tied), (size, count) in (sums | alone).items()
    ]
