"""How far two sets of log-probabilities are apart, over the same tokens at the same positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantswarm.bench.verify.answers import Answer
from quantswarm.models.dequantize import Floats, Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """Absolute differences in nats; None over no value at all."""

    mean: float | None
    largest: float | None
    values: int

    def document(self) -> dict[str, float | int | None]:
        """As JSON has it."""
        return {"mean": self.mean, "max": self.largest, "values": self.values}


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How far the served numbers went from the variant towards another reference: 0 is the variant,
    1 the other. `error` is one standard error, by leaving out one prompt after the other.

    It sees what a mean error cannot: noise points anywhere, another model's difference one way.
    """

    value: float
    error: float

    def surely_below(self, limit: float) -> bool:
        """With two standard errors to spare."""
        return self.value + 2 * self.error < limit

    def surely_above(self, limit: float) -> bool:
        """With two standard errors to spare."""
        return self.value - 2 * self.error > limit


def share(
    served: Sequence[Floats], variant: Sequence[Floats], other: Sequence[Floats]
) -> Share | None:
    """Least squares over all values; None where the references are the same, or of one prompt."""
    went, way = [], []
    for told, base, there in zip(served, variant, other, strict=True):
        apart = (there - base).astype(np.float64)
        went.append(float(((told - base) * apart).sum()))
        way.append(float((apart * apart).sum()))
    along, squared = np.array(went), np.array(way)
    without = squared.sum() - squared
    if len(along) < 2 or not without.all():
        return None
    left_out = (along.sum() - along) / without
    spread = np.square(left_out - left_out.mean()).sum() * (len(along) - 1) / len(along)
    return Share(value=float(along.sum() / squared.sum()), error=float(np.sqrt(spread)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Which values of one answer are compared: the row of the reference, and the token's id.

    Row i of the reference is about the token after token i, so the row is one before the place.
    """

    rows: Stored
    tokens: Stored
    generated: Stored
    served: Floats


def places(answer: Answer) -> Places:
    """Every value that the server told."""
    flat = [
        (at - 1, token, at >= answer.prompt_tokens, value)
        for at, told in answer.scored.items()
        for token, value in told.items()
    ]
    rows, tokens, generated, served = zip(*flat, strict=True) if flat else ((), (), (), ())
    return Places(
        rows=np.array(rows, np.int64),
        tokens=np.array(tokens, np.int64),
        generated=np.array(generated, bool),
        served=np.array(served, np.float32),
    )


def between(first: Sequence[Floats], second: Sequence[Floats]) -> Distance:
    """Over all answers together."""
    apart = np.abs(np.concatenate(first) - np.concatenate(second))
    return of(apart)


def of(apart: Floats) -> Distance:
    """The summary of some differences."""
    if not apart.size:
        return Distance(mean=None, largest=None, values=0)
    return Distance(mean=float(apart.mean()), largest=float(apart.max()), values=apart.size)
