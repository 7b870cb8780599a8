"""Does what was served lie within the noise of its compute type around the variant's reference?

How large that noise is depends on the model: on its depth, and on the size of its logits. So it is
not a constant: the reference is computed a second time, on the same tokens, with all that passes
from one operator to the next rounded to the compute type (and activations to what the scheme
says). The difference is the noise; it knows nothing of the engine. An engine may be twice as far
off on average and four times at worst: it sums in another order, and may round elsewhere.

Where noise is larger than what quantizing changed, a small mean error proves little. The share of
the way to the unquantized original does: see `distance.Share`. Noise before a coarse rounding has a
share of its own: it flips values to the next step, which on average undoes some of the rounding.
The rounded reference shows how much (`Row.noise`), and only what goes beyond is remarked on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantswarm.bench.verify.distance import Distance, Share

MEAN_FACTOR, LARGEST_FACTOR = 2.0, 4.0
MEAN_FLOOR, LARGEST_FLOOR = 1e-4, 2e-3
"""What float32 sums in another order leave, and no reference can be held closer to."""
HALF_WAY = 0.5
"""Beyond it, the served numbers belong to the other reference."""
NOTICED = 0.2
"""A share of a deviation from here on is worth a warning: rounding is chaotic, and two kernels that
round alike share a part of their noise, not all of it."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One reference: how far the served numbers are from it, and it from the variant's.

    `share` of the way the served numbers went; `noise` what the compute type's noise goes by
    itself.
    """

    name: str
    label: str
    served: Distance
    from_variant: Distance
    share: Share | None
    noise: Share | None = None

    def goes_beyond_noise(self, limit: float) -> bool:
        """Whether the served numbers surely went further than noise does, by `limit`."""
        if self.share is None:
            return False
        by_noise = self.noise.value + 2 * self.noise.error if self.noise else 0.0
        return self.share.surely_above(limit + max(0.0, by_noise))

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "label": self.label,
            "error": self.served.document(),
            "from_variant": self.from_variant.document(),
            "share": _document(self.share),
            "noise_share": _document(self.noise),
        }


def _document(share: Share | None) -> dict[str, float] | None:
    return None if share is None else {"value": share.value, "error": share.error}


def verdict(variant: Row, original: Row | None, allowed: Tolerance) -> str:
    """`differs` also where nothing could be compared, or where the original is served."""
    served = variant.served
    if served.mean is None or served.largest is None:
        return DIFFERS
    if original is not None and original.share and original.share.surely_above(HALF_WAY):
        return DIFFERS
    within = served.mean <= allowed.mean and served.largest <= allowed.largest
    return MATCHES if within else DIFFERS


def remarks(others: list[Row], original: Row | None) -> list[Warned]:
    """What the other references say: another kernel than declared, or a test without power."""
    found: list[Warned] = [
        (
            "other-arithmetic",
            f"the served numbers go {row.share.value:.0%} of the way to: {row.label}",
            "the kernel does not compute what the variant's name says",
            "see the kernels in the server's log; say so beside its numbers, or choose another",
        )
        for row in others
        if row.share is not None and row.goes_beyond_noise(NOTICED)
    ]
    if original is None or original.share is None:
        return found
    share = original.share
    told = f"{share.value:.2f} ± {share.error:.2f} of the way from the variant to the original"
    if share.surely_above(HALF_WAY):
        found.append(
            (
                "not-quantized",
                f"the served numbers are {told}",
                "the server computes with other weights, or another cache, than the variant has",
                "check which weights it loaded, and its flags",
            )
        )
    elif not share.surely_below(HALF_WAY):
        found.append(
            (
                "cannot-tell-apart",
                f"the served numbers are {told}",
                "too few values for the noise of this compute type",
                "more --prompts",
            )
        )
    return found
