"""The noise floor: from repeats where there are some, from halves of windows otherwise."""

from __future__ import annotations

import math
import random

import pytest
from made_runs import LOAD, group, made, run

from quantswarm.bench.compare.floor import HALVES, REPEATS, floor_of
from quantswarm.bench.compare.measure import MEASURES, Load

BY_KEY = {measure.key: measure for measure in MEASURES}
OUTPUT, TTFT = BY_KEY["output_throughput"], BY_KEY["ttft_p50_ms"]


def test_every_two_rounds_of_a_variant_are_an_aa_pair_and_the_largest_gap_is_the_floor() -> None:
    a = group(*(made("a", n, [speed] * 10, []) for n, speed in enumerate((100, 102, 101), 1)))
    b = group(*(made("b", n, [speed] * 10, []) for n, speed in enumerate((200, 210), 1)))
    found = floor_of((a, b), LOAD, OUTPUT)
    assert found is not None
    assert (found.pairs, found.kind) == (4, REPEATS)
    assert found.log == pytest.approx(math.log(1.05))
    assert found.share == pytest.approx(0.05)


def test_of_many_pairs_one_outlier_is_not_the_floor() -> None:
    speeds = [100.0] * 40 + [150.0]
    a = group(*(made("a", n, [speed] * 10, []) for n, speed in enumerate(speeds, 1)))
    found = floor_of((a,), LOAD, OUTPUT)
    assert found is not None
    assert found.log < math.log(1.5)


def test_one_round_has_the_halves_of_its_windows() -> None:
    a = group(made("a", 1, [100.0] * 5 + [110.0] * 5, [[20.0]] * 5 + [[25.0]] * 5))
    output, ttft = (floor_of((a,), LOAD, measure) for measure in (OUTPUT, TTFT))
    assert output is not None
    assert ttft is not None
    assert output.kind == ttft.kind == HALVES
    assert output.share == pytest.approx(0.1)
    assert ttft.share == pytest.approx(0.25)


def test_loads_have_floors_of_their_own() -> None:
    quiet, busy = LOAD, Load(model="tiny", users=64)
    groups = [
        group(*(run(random.Random(n), "a", n, load=load, sd=sd) for n in (1, 2)))
        for load, sd in ((quiet, 0.0), (busy, 0.2))
    ]
    calm, wild = (floor_of(groups, load, OUTPUT) for load in (quiet, busy))
    assert calm is not None
    assert wild is not None
    assert calm.log < wild.log
    assert floor_of(groups, Load(model="tiny", users=1), OUTPUT) is None
