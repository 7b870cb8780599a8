"""The block bootstrap: against what is known in closed form."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from made_runs import autocorrelated, made, run

from quantswarm.bench.compare.bootstrap import block_length, within
from quantswarm.bench.compare.measure import MEASURES

BY_KEY = {measure.key: measure for measure in MEASURES}
OUTPUT, TTFT = BY_KEY["output_throughput"], BY_KEY["ttft_p50_ms"]


def test_independent_seconds_give_the_textbook_error() -> None:
    chance = random.Random(2)
    tokens = [[500 + 25 * chance.gauss(0, 1) for _ in range(200)] for _ in range(2)]
    one, other = (made("a", 1, counts, []).blocks for counts in tokens)
    found = within(one, other, OUTPUT)
    assert found is not None
    parts = [statistics.variance(x) / 200 / statistics.fmean(x) ** 2 for x in tokens]
    assert found.error == pytest.approx(math.sqrt(sum(parts)), rel=0.15)


def test_an_open_loops_common_arrivals_cancel() -> None:
    """Both runs follow one plan: what the plan does to both is no noise of the ratio."""
    chance = random.Random(3)
    plan = [chance.uniform(100, 900) for _ in range(60)]
    one, other = (made("a", 1, [n * x for x in plan], []).blocks for n in (1.0, 1.1))
    found = within(one, other, OUTPUT)
    assert found is not None
    assert found.error == pytest.approx(0, abs=1e-9)


def test_blocks_grow_with_the_autocorrelation_and_never_under_a_second() -> None:
    chance = random.Random(4)
    lengths = [
        statistics.fmean(block_length(autocorrelated(chance, 120, phi, 0.1)) for _ in range(20))
        for phi in (0.0, 0.5, 0.8)
    ]
    assert 1 <= lengths[0] < lengths[1] < lengths[2] <= 30
    assert block_length([5.0] * 20) == 1


def test_a_median_is_resampled_with_its_requests() -> None:
    """Of n independent samples the median's error is about 1.25 s / √n."""
    chance = random.Random(5)
    one, other = (run(chance, sd=0.0, phi=0.0, seconds=100).blocks for _ in range(2))
    found = within(one, other, TTFT)
    assert found is not None
    expected = math.sqrt(2) * 1.253 * 0.1 / math.sqrt(800)
    assert found.error == pytest.approx(expected, rel=0.35)


@pytest.mark.parametrize("seconds", [0, 7])
def test_too_few_seconds_are_not_drawn_from(seconds: int) -> None:
    short = made("a", 1, [500.0] * seconds or [0.0], []).blocks
    assert within(short, short, OUTPUT) is None
    assert within(None, short, OUTPUT) is None


def test_nothing_is_made_of_seconds_without_a_sample() -> None:
    idle = made("a", 1, [0.0] * 20, [[] for _ in range(20)]).blocks
    assert within(idle, idle, OUTPUT) is None
    assert within(idle, idle, TTFT) is None
