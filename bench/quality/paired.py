"""How sure a mean difference is: the paired block bootstrap over tokens or items.

Neighbouring tokens are not independent: one hard line of text is hard for many tokens. So blocks of
neighbours are drawn with replacement, circularly (Politis and Romano 1992), and the mean of each
draw is taken. Both sides are scored on the same tokens, so that what makes a text hard cancels in
each difference before anything is drawn.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating]

FEWEST_BLOCKS = 8
"""A block is shortened until so many fit: fewer say nothing about how they vary."""


def paired_interval(
    differences: Floats, *, block: int = 64, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Lower and upper end of the mean of `differences` [n], in their order and unit.

    The quantiles of the drawn means, whose spread is widened by sqrt(k / (k - 1)) for k blocks: a
    bootstrap of k blocks has the variance of a sum over k, where the estimate needs k - 1. Seeded:
    the same differences give the same interval. `block=1` is the ordinary bootstrap, for items that
    are independent. `ValueError` for fewer than two differences, or one that is not finite.
    """
    values = np.asarray(differences, dtype=np.float64).ravel()
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"{len(values)} differences: two or more finite ones are needed")
    length = max(1, min(block, len(values) // FEWEST_BLOCKS))
    count = math.ceil(len(values) / length)
    means = _block_means(values, length)
    starts = np.random.default_rng(seed).integers(len(values), size=(draws, count))
    drawn = means[starts].mean(axis=1)
    mean = float(values.mean())
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    wider = math.sqrt(count / (count - 1))
    return mean + wider * (float(low) - mean), mean + wider * (float(high) - mean)


def _block_means(values: Floats, length: int) -> Floats:
    """For each place, the mean of the block that begins there; the end goes on at the start."""
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[: length - 1]]))])
    return np.asarray((sums[length:] - sums[:-length]) / length)
