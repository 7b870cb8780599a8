"""Does what was served lie within the noise of its compute type around the variant's reference?

How large that noise is depends on the model: on its depth, and on the size of its logits. So it is not
a constant: the reference is computed a second time with everything that passes from one operator to
the next rounded to the compute type, on the same tokens, and the difference is the noise. It knows
nothing of the engine. An engine may be twice as far off on average and four times at worst: it sums in
another order, and may round where the estimate does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantswarm.bench.verify.distance import Distance

MEAN_FACTOR, LARGEST_FACTOR = 2.0, 4.0
MEAN_FLOOR, LARGEST_FLOOR = 1e-4, 2e-3
"""What float32 sums in another order leave, and no reference can be held closer to."""
NEARER = 0.7
"""Another reference explains the numbers better where it is this much nearer."""

MATCHES, DIFFERS = "matches", "differs"
Warned = tuple[str, str, str, str]
"""(name, what is seen, cause, advice)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Largest mean and largest single error that still match."""

    mean: float
    largest: float


def tolerance(noise: Distance) -> Tolerance:
    """From the noise of the compute type on this very model and these tokens."""
    return Tolerance(
        mean=MEAN_FLOOR + MEAN_FACTOR * (noise.mean or 0.0),
        largest=LARGEST_FLOOR + LARGEST_FACTOR * (noise.largest or 0.0),
    )


def verdict(served: Distance, allowed: Tolerance) -> str:
    """`differs` also where nothing could be compared, or a value is not a number."""
    if served.mean is None or served.largest is None:
        return DIFFERS
    within = served.mean <= allowed.mean and served.largest <= allowed.largest
    return MATCHES if within else DIFFERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One reference: how far the served numbers are from it, and it from the variant's."""

    name: str
    label: str
    served: Distance
    from_variant: Distance

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "label": self.label,
            "error": self.served.document(),
            "from_variant": self.from_variant.document(),
        }


def remarks(
    variant: Row, others: list[Row], original: Row | None, allowed: Tolerance
) -> list[Warned]:
    """What the other references say: a better explanation, or a test without power."""
    found: list[Warned] = []
    rivals = [*others, *([original] if original else [])]
    nearest = min(rivals, key=lambda row: _mean(row.served), default=None)
    if nearest is not None and _mean(nearest.served) < NEARER * _mean(variant.served):
        found.append(
            (
                "other-arithmetic",
                f"the served numbers are nearest to: {nearest.label} "
                f"({_mean(nearest.served):.2g}, against {_mean(variant.served):.2g})",
                "the kernel computes otherwise than the variant's name says",
                "see the kernels in the server's log; say so beside the numbers, or choose another",
            )
        )
    if original is not None and _mean(original.from_variant) <= allowed.mean:
        found.append(
            (
                "cannot-tell-apart",
                f"the original is {_mean(original.from_variant):.2g} from the variant on average",
                f"the noise of the compute type allows {allowed.mean:.2g}",
                "this run does not show which of the two is served; a wider compute type may",
            )
        )
    return found


def _mean(distance: Distance) -> float:
    return float("inf") if distance.mean is None else distance.mean
