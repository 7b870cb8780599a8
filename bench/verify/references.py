"""The references that a served variant is held to, and those that would explain a difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from quantswarm.bench.verify.distance import Places
from quantswarm.engines.base import Precision

if TYPE_CHECKING:
    from quantswarm.models.dequantize import Floats
    from quantswarm.models.reference.forward import Numerics, Weights

WIDE = (None, "float32", "bfloat16", "float16")
"""Types of a cache that is not quantized."""
VARIANT, NOISE, ORIGINAL = "variant", "noise", "original"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of computing; `label` says it in words."""

    name: str
    label: str
    numerics: Numerics


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A way, and its value for each that was served."""

    name: str
    label: str
    values: list[Floats]


def weights_at(path: Path, asked: str) -> Weights:
    """The weights of a folder or a GGUF file."""
    if path.is_file():
        from quantswarm.models.reference.gguf_weights import GgufWeights

        return GgufWeights(path, asked)
    from quantswarm.models.reference.checkpoint import Checkpoint

    return Checkpoint(path, asked)


def ways(precision: Precision, *, quantized: bool, rounds_inputs: bool) -> list[Way]:
    """The variant as it is declared, its noise in the compute type, and likely deviations.

    The variant's own reference rounds no activations, even where the engine is meant to: such
    rounding is chaotic (the least difference before it flips some values to the next step), so that
    a second rounding would only add its own noise. It belongs to the noise that is allowed.
    """
    from quantswarm.models.reference.forward import Numerics
    from quantswarm.models.reference.rounding import as_is, float32_sums, named

    keys, values = (named(kind or "float32") for kind in (precision.keys, precision.values))
    dtype = precision.dtype or "float32"
    plain = Numerics(keys=keys, values=values, inputs=as_is)
    noisy = replace(plain, inputs=None, keep=float32_sums if dtype == "float32" else named(dtype))
    found = [
        Way(name=VARIANT, label=_declared(precision), numerics=plain),
        Way(name=NOISE, label=f"the same, everything kept in {dtype}", numerics=noisy),
    ]
    if quantized and not rounds_inputs:
        found += [
            Way(name=name, label=label, numerics=replace(plain, inputs=named(kind)))
            for name, kind, label in _ACTIVATIONS
        ]
    if precision.keys == "e4m3":
        cut = named("e4m3-toward-zero")
        numerics = replace(plain, keys=cut, values=cut)
        found.append(
            Way(name="cache-cut-off", label="the cache in e4m3, cut off", numerics=numerics)
        )
    if narrow(precision):
        numerics = replace(plain, keys=as_is, values=as_is)
        found.append(Way(name="cache-as-is", label="the cache not rounded", numerics=numerics))
    return found


_ACTIVATIONS = (
    ("activations-by-token", "int8 a token", "activations in 8 bits, a scale a token"),
    ("activations-by-block", "int8 a block of 32", "activations in 8 bits, 32 sharing a scale"),
)


def narrow(precision: Precision) -> bool:
    """Whether the cache holds less than 16 bits a value."""
    return any(kind not in WIDE for kind in (precision.keys, precision.values))


def _declared(precision: Precision) -> str:
    if not narrow(precision):
        return "the weights as stored, in float32"
    cache = " and ".join(dict.fromkeys(kind for kind in (precision.keys, precision.values) if kind))
    return f"the weights as stored, in float32; the cache in {cache}"


def scored(
    weights: Weights, sequences: Sequence[Sequence[int]], where: Sequence[Places], how: list[Way]
) -> list[Scored]:
    """What each way gives for every value that was served."""
    from quantswarm.models.reference.forward import picked

    def pick(at: int, rows: Floats) -> Floats:
        kept: Floats = rows[where[at].rows, where[at].tokens]
        return kept

    found = picked(weights, sequences, [way.numerics for way in how], pick)
    return [
        Scored(name=way.name, label=way.label, values=values)
        for way, values in zip(how, found, strict=True)
    ]


def original(
    path: Path, sequences: Sequence[Sequence[int]], where: Sequence[Places], asked: str
) -> Scored:
    """The unquantized model in float32."""
    from quantswarm.models.reference.forward import Numerics

    way = Way(name=ORIGINAL, label="the unquantized original, in float32", numerics=Numerics())
    return scored(weights_at(path, asked), sequences, where, [way])[0]
