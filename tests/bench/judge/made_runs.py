"""Runs with a known truth, without a clock: seconds of work that are slow and quick by turns."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from quantswarm.bench.compare.measure import Group, Load, Run
from quantswarm.bench.judge.blocks import Blocks, Samples
from quantswarm.bench.judge.percentile import quantile

LOAD = Load(model="tiny", users=8)
REQUESTS = 8
"""Requests that begin in each second."""


def autocorrelated(chance: random.Random, seconds: int, phi: float, sd: float) -> list[float]:
    """A stationary AR(1) series of mean 1."""
    state = chance.gauss(0, 1)
    made = []
    for _ in range(seconds):
        state = phi * state + math.sqrt(1 - phi * phi) * chance.gauss(0, 1)
        made.append(max(0.1, 1 + sd * state))
    return made


def run(
    chance: random.Random,
    variant: str = "a",
    number: int = 1,
    *,
    speed: float = 1.0,
    seconds: int = 40,
    phi: float = 0.5,
    sd: float = 0.05,
    load: Load = LOAD,
) -> Run:
    """A run whose every second has its own speed; TTFT is 20 ms / speed, and scatters besides."""
    speeds = [speed * part for part in autocorrelated(chance, seconds, phi, sd)]
    tokens = [500 * part for part in speeds]
    ttft = [
        [20 / part * math.exp(chance.gauss(0, 0.1)) for _ in range(REQUESTS)] for part in speeds
    ]
    return made(variant, number, tokens, ttft, load)


def made(
    variant: str,
    number: int,
    tokens: Sequence[float],
    ttft: Sequence[Sequence[float]],
    load: Load = LOAD,
) -> Run:
    """A run from what happened in each of its seconds."""
    values = [value for second in ttft for value in second]
    places = [place for place, second in enumerate(ttft) for _ in second]
    return Run(
        cell=f"{variant}-{number}",
        variant=variant,
        load=load,
        round=number,
        values={
            "output_throughput": sum(tokens) / len(tokens),
            "ttft_p50_ms": quantile(sorted(values), 0.5) if values else None,
        },
        blocks=Blocks(
            seconds=len(tokens),
            counts={"output_throughput": tokens},
            samples={"ttft": Samples(values=values, seconds=places)},
        ),
    )


def group(*runs: Run) -> Group:
    """Rounds of one variant."""
    return Group(variant=runs[0].variant, load=runs[0].load, runs=runs)
