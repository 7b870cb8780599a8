"""How much a ratio of two windows would vary by itself: a moving-block bootstrap over seconds.

Both windows are cut into seconds, and runs of neighbouring seconds are drawn with replacement, the
same places in both (Künsch 1989, circular: Politis and Romano 1992). In an open loop the same
places hold the same arrivals, so what the plan does to both cancels. The run of seconds is as long
as the autocorrelation asks for. Draws are seeded: the same records give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantswarm.bench.compare.measure import HEADLINE, Measure
from quantswarm.bench.judge.blocks import Blocks, Samples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DRAWS = 400
SEED = 20_261_121
FEWEST_SECONDS = 8
"""Shorter windows hold too few seconds to draw from."""
FEWEST_BLOCKS = 4
GRID = 500
"""Ranks at which a resampled distribution is looked up."""
STRONGEST = 0.9
"""Autocorrelation beyond which no window that people measure would hold enough blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """The standard error of a log ratio by what varies inside the windows; `blocks` is how many
    independent blocks of `block_s` seconds stand behind it."""

    error: float
    blocks: int
    block_s: int


def within(one: Blocks | None, other: Blocks | None, measure: Measure) -> Within | None:
    """The bootstrap's standard error of log(one / other); None where a window is too short, or
    a block could be without a sample."""
    if one is None or other is None:
        return None
    seconds = min(one.seconds, other.seconds)
    if seconds < FEWEST_SECONDS:
        return None
    block_s = max(
        block_length(found) for blocks in (one, other) for found in _signals(blocks, measure)
    )
    logs = [
        _log_draws(blocks, measure, _weights(blocks.seconds, block_s)) for blocks in (one, other)
    ]
    if any(found is None for found in logs):
        return None
    count = seconds // block_s
    # A bootstrap of n blocks has the variance of a sum over n, where the estimate needs n - 1.
    error = float((logs[0] - logs[1]).std(ddof=1)) * math.sqrt(count / (count - 1))
    return Within(error=error, blocks=count, block_s=block_s)


def block_length(values: Sequence[float]) -> int:
    """Seconds a block must have: the rule that Carlstein (1986) gives for an AR(1) series, from the
    first autocorrelation (corrected for its bias in short series); 1 where there is none."""
    import numpy as np

    series = np.asarray(values, dtype=float)
    n = len(values)
    centred = series - series.mean()
    power = float((centred**2).sum())
    if power <= 0:
        return 1
    first = float((centred[1:] * centred[:-1]).sum()) / power
    first = min(first + (1 + 3 * first) / n, STRONGEST)
    if first <= 0:
        return 1
    length: float = (1.5 * n) ** (1 / 3) * (2 * first / (1 - first * first)) ** (2 / 3)
    return max(1, min(math.ceil(length), n // FEWEST_BLOCKS))


def signal(blocks: Blocks, measure: Measure) -> Sequence[float]:
    """How each second pulls at the measure: its count, or how many of its samples lie beyond the
    percentile, less those expected."""
    import numpy as np

    if measure.quantile is None:
        return blocks.counts[measure.source]
    values, seconds = _arrays(blocks.samples[measure.source])
    if not len(values):
        return [0.0] * blocks.seconds
    beyond = (values > np.quantile(values, measure.quantile)) - (1 - measure.quantile)
    pulled: list[float] = np.bincount(seconds, weights=beyond, minlength=blocks.seconds).tolist()
    return pulled


def _signals(blocks: Blocks, measure: Measure) -> tuple[Sequence[float], ...]:
    """The measure's own, and that of the tokens: what slows a server slows both, and a percentile
    shows it less clearly."""
    return signal(blocks, measure), signal(blocks, HEADLINE)


def _weights(seconds: int, block_s: int) -> Floats:
    """For each draw, how often each second is in it."""
    import numpy as np

    chance = np.random.default_rng(SEED)
    starts = chance.integers(seconds, size=(DRAWS, -(-seconds // block_s)))
    places = (starts[:, :, None] + np.arange(block_s)).reshape(DRAWS, -1)[:, :seconds] % seconds
    flat = places + np.arange(DRAWS)[:, None] * seconds
    counted = np.bincount(flat.ravel(), minlength=DRAWS * seconds)
    return counted.reshape(DRAWS, seconds).astype(float)


def _log_draws(blocks: Blocks, measure: Measure, weights: Floats) -> Any:
    """The logarithm of the measure in each draw; None where one of them is not above 0."""
    import numpy as np

    if measure.quantile is None:
        drawn = weights @ np.asarray(blocks.counts[measure.source], dtype=float)
    else:
        samples = blocks.samples[measure.source]
        if not len(samples.values):
            return None
        drawn = _quantiles(samples, measure.quantile, weights)
    return np.log(drawn) if drawn is not None and (drawn > 0).all() else None


def _quantiles(samples: Samples, q: float, weights: Floats) -> Floats | None:
    """The quantile in each draw, from the numbers of samples a second up to each grid value."""
    import numpy as np

    values, seconds = _arrays(samples)
    near = min(1 - q, q)
    ranks = np.concatenate(
        [np.linspace(0, 1, GRID // 2), np.linspace(max(0, q - near), min(1, q + near), GRID // 2)]
    )
    grid = np.unique(np.quantile(values, ranks, method="inverted_cdf"))
    places = np.searchsorted(grid, values)
    width = weights.shape[1]
    table = np.bincount(places * width + seconds, minlength=len(grid) * width)
    upto = (weights @ table.reshape(len(grid), width).T.astype(float)).cumsum(axis=1)
    totals = upto[:, -1]
    if not (totals > 0).all():
        return None
    found: Floats = grid[(upto < q * totals[:, None] - 1e-9).sum(axis=1)]
    return found


def _arrays(samples: Samples) -> tuple[Floats, NDArray[np.int64]]:
    import numpy as np

    return np.asarray(samples.values, dtype=float), np.asarray(samples.seconds, dtype=np.int64)
