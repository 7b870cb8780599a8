"""The references that a served variant is held to, and those that would explain a difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantswarm.bench.verify.distance import Places
from quantswarm.engines.base import Precision

if TYPE_CHECKING:
    from quantswarm.models.dequantize import Floats
    from quantswarm.models.reference.forward import Numerics, Weights

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


def ways(precision: Precision, *, quantized: bool) -> list[Way]:
    """The variant as it is declared, its noise in the compute type, and likely deviations."""
    from quantswarm.models.reference.forward import Numerics
    from quantswarm.models.reference.rounding import as_is, float32_sums, named

    keys, values = (named(kind or "float32") for kind in (precision.keys, precision.values))
    dtype = precision.dtype or "float32"
    keep = float32_sums if dtype == "float32" else named(dtype)
    found = [
        Way(name=VARIANT, label=_declared(precision), numerics=Numerics(keys=keys, values=values)),
        Way(
            name=NOISE,
            label=f"the same, everything kept in {dtype}",
            numerics=Numerics(keep=keep, keys=keys, values=values),
        ),
    ]
    if quantized:
        for kind, label in _ACTIVATIONS:
            numerics = Numerics(keys=keys, values=values, inputs=named(kind))
            found.append(Way(name=f"activations: {kind}", label=label, numerics=numerics))
    if precision.keys == "e4m3":
        cut = named("e4m3-toward-zero")
        numerics = Numerics(keys=cut, values=cut)
        found.append(
            Way(name="cache: cut off", label="the cache in e4m3, cut off", numerics=numerics)
        )
    if _narrow(precision):
        found.append(
            Way(
                name="cache: not rounded",
                label="the cache as the model computes it",
                numerics=Numerics(keys=as_is, values=as_is),
            )
        )
    return found


_ACTIVATIONS = (
    ("float32", "activations not rounded"),
    ("int8 a token", "activations in 8 bits, a scale a token"),
    ("int8 a block of 32", "activations in 8 bits, 32 sharing a scale"),
)


def _narrow(precision: Precision) -> bool:
    return any(kind not in (None, "float16") for kind in (precision.keys, precision.values))


def _declared(precision: Precision) -> str:
    if not _narrow(precision):
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
