"""KL divergence of a served distribution from the reference's, whole or cut to its likeliest.

    KL(p ‖ q) = Σ p log(p / q), in nats; p the reference, q what was served

An endpoint tells q only on a set S: its K likeliest tokens, and the one that came. p is known for
every token. With P and Q the mass of p and q outside S, and r_i = log(p_i / q_i):

* the part on S is exact;
* what is left is at least P log(P / Q), by the log-sum inequality;
* it is at most P · max r_i outside S. No rule bounds that, as q could be all but 0 there; but where
  it was told, r_i is known. So the largest r_i over all told tokens and places of a run stands for
  it, which is an assumption, stated here, and tested on distributions that are known whole;
* the best estimate adds to the lower bound what parts p from q *within* the rest. That is taken
  from the less likely half of S, pooled over all places: an error of logits hits both alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from quantswarm.models.dequantize import Floats

Wide: TypeAlias = NDArray[np.float64]
Ids: TypeAlias = NDArray[np.int64]

RESOLUTION = 1e-6
"""What float32 leaves uncertain of a sum of probabilities."""


def whole(reference: Floats, served: Floats) -> Wide:
    """KL at each place, from log-probabilities [places, vocabulary] of both; never below 0."""
    wide = np.asarray(reference, dtype=np.float64)
    apart = np.where(np.isneginf(wide), 0.0, wide - served)
    return np.asarray(np.maximum((np.exp(wide) * apart).sum(axis=-1), 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What one window says of KL where only `told` tokens are known; arrays are [places].

    `inside` is the exact part, `left` and `left_served` are P and Q, `largest` the largest r_i that
    was told. `tail_mass` and `tail_apart`: p's mass on the less likely half of S, and the
    divergence within it, weighted by that mass.
    """

    inside: Wide
    left: Wide
    left_served: Wide
    largest: float
    tail_mass: Wide
    tail_apart: Wide


def cut(reference: Floats, told: list[Ids], values: list[Wide]) -> Cut:
    """From the reference's [places, vocabulary], and at each place the told ids, likeliest first,
    with their served log-probabilities."""
    rows = []
    largest = -np.inf
    for whole_row, ids, served in zip(reference, told, values, strict=True):
        row = np.asarray(whole_row, dtype=np.float64)
        p, ratios = np.exp(row[ids]), row[ids] - served
        largest = max(largest, float(ratios.max()))
        rest = np.ones(len(row), dtype=bool)
        rest[ids] = False
        left_served = max(0.0, 1.0 - float(np.exp(served).sum()))
        tail = slice(len(ids) // 2, None)
        rows.append(
            (
                float((p * ratios).sum()),
                float(np.exp(row[rest]).sum()),
                left_served,
                float(p[tail].sum()),
                _within(p[tail], np.exp(served[tail])),
            )
        )
    inside, left, left_served_all, tail_mass, tail_apart = np.array(rows, dtype=np.float64).T
    return Cut(
        inside=inside,
        left=left,
        left_served=left_served_all,
        largest=largest,
        tail_mass=tail_mass,
        tail_apart=tail_apart,
    )


def _within(p: Wide, q: Wide) -> float:
    """Divergence of p from q on some tokens, beyond what their masses there explain."""
    mass, served = float(p.sum()), float(q.sum())
    if mass <= 0 or served <= 0:
        return 0.0
    kept = (p > 0) & (q > 0)
    apart = float((p[kept] * np.log(p[kept] / q[kept])).sum())
    return max(0.0, apart - mass * float(np.log(mass / served)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """KL at each place: `low` ≤ the truth, `high` ≥ it under the stated assumption, `best`."""

    low: Wide
    best: Wide
    high: Wide
    covered_mass: float


def bounds(cuts: list[Cut], largest: float | None = None) -> Bounds:
    """All windows of a run together; `largest` replaces the largest r_i that was told."""
    inside, left, left_served, tail_mass, tail_apart = (
        np.concatenate([getattr(one, name) for one in cuts])
        for name in ("inside", "left", "left_served", "tail_mass", "tail_apart")
    )
    most = max(one.largest for one in cuts) if largest is None else largest
    low = np.maximum(0.0, inside + _log_sum(left, left_served + RESOLUTION))
    pooled = float(tail_mass.sum())
    within = float(tail_apart.sum()) / pooled if pooled > 0 else 0.0
    high = np.maximum(low, inside + left * max(0.0, most))
    best = np.minimum(high, low + left * within)
    return Bounds(low=low, best=best, high=high, covered_mass=float(1.0 - left.mean()))


def _log_sum(left: Wide, left_served: Wide) -> Wide:
    safe = np.where(left > 0, left, 1.0)
    return np.asarray(np.where(left > 0, left * np.log(safe / left_served), 0.0))
