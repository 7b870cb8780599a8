"""Lengths that are drawn: inside their bounds, and the same for everybody who asks."""

from __future__ import annotations

import contextlib
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.load.lengths import (
    Lengths,
    Unfit,
    at,
    drawn,
    length_from,
    length_json,
    longest,
    shortest,
)

BOUNDS = st.tuples(st.integers(1, 3000), st.integers(0, 3000)).map(lambda b: (b[0], sum(b)))


@st.composite
def laws(draw: st.DrawFn) -> Lengths:
    low, high = draw(BOUNDS)
    kind = draw(st.sampled_from(["uniform", "normal", "lognormal", "list"]))
    found = length_from({"dist": "uniform", "min": low, "max": high}, 1)
    if kind == "list":
        values = draw(st.lists(st.integers(low, high), min_size=1, max_size=9))
        found = length_from({"dist": kind, "values": values}, 1)
    elif kind != "uniform":
        centre = draw(st.integers(low, high))
        names, spread = ("mean", "sd"), draw(st.floats(1.0, 500.0))
        if kind == "lognormal":
            names, spread = ("median", "sigma"), draw(st.floats(0.05, 2.0))
        table = {"dist": kind, names[0]: centre, names[1]: spread, "min": low, "max": high}
        with contextlib.suppress(Unfit):  # a bell far wider than its bounds is refused
            found = length_from(table, 1)
    assert isinstance(found, Lengths)
    return found


@given(law=laws(), seed=st.integers(0, 99), number=st.integers(0, 100_000))
def test_a_draw_is_inside_its_bounds_and_always_the_same(
    law: Lengths, seed: int, number: int
) -> None:
    found = drawn(law, seed=seed, what="prompt", number=number)
    assert shortest(law) <= found <= longest(law)
    assert found == drawn(law, seed=seed, what="prompt", number=number)


@given(law=laws(), parts=st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=9))
def test_a_larger_part_is_never_a_smaller_length(law: Lengths, parts: list[float]) -> None:
    if law.dist != "list":
        lengths = [at(law, part) for part in sorted(parts)]
        assert lengths == sorted(lengths)


@given(law=laws())
def test_the_form_of_a_file_survives(law: Lengths) -> None:
    assert length_from(length_json(law), 1) == law


@pytest.mark.parametrize(
    ("table", "median", "rel"),
    [
        ({"dist": "uniform", "min": 100, "max": 300}, 200, 0.05),
        ({"dist": "normal", "mean": 500, "sd": 50, "min": 1, "max": 1000}, 500, 0.02),
        ({"dist": "lognormal", "median": 120, "sigma": 0.8, "min": 1, "max": 9999}, 120, 0.08),
        ({"dist": "list", "values": [10, 20, 20, 30]}, 20, 0.01),
    ],
)
def test_draws_follow_their_law(table: dict[str, Any], median: int, rel: float) -> None:
    law = length_from(table, 1)
    draws = [drawn(law, seed=1, what="prompt", number=number) for number in range(4000)]
    assert statistics.median(draws) == pytest.approx(median, rel=rel)
    assert len(set(draws)) > 2


def test_what_is_cut_off_does_not_pile_up_at_the_edge() -> None:
    law = length_from({"dist": "normal", "mean": 100, "sd": 50, "min": 100, "max": 400}, 1)
    draws = [drawn(law, seed=0, what="x", number=number) for number in range(4000)]
    assert draws.count(100) < 100  # moved to the edge, it would be every second one


def test_seed_what_and_number_all_matter() -> None:
    law = length_from({"dist": "uniform", "min": 1, "max": 10**6}, 1)
    found = {
        drawn(law, seed=seed, what=what, number=number)
        for seed in (0, 1)
        for what in ("prompt", "output")
        for number in range(50)
    }
    assert len(found) == 200


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (3, "at least 4"),
        (4.5, "whole number"),
        (True, "whole number"),
        ("9", "or a table"),
        ({"dist": "gamma"}, "none of uniform, normal, lognormal, list"),
        ({"dist": ["list"]}, "none of"),
        ({"dist": "uniform", "min": 5}, "needs exactly the keys min, max, found min"),
        ({"dist": "uniform", "min": 5, "max": 9, "mean": 7}, "found max, mean, min"),
        ({"dist": "uniform", "min": 9, "max": 5}, "max 5 under min 9"),
        ({"dist": "uniform", "min": 1, "max": 5}, "min 1, which must be"),
        ({"dist": "normal", "mean": 0, "sd": 1, "min": 4, "max": 9}, "mean 0, which must"),
        ({"dist": "normal", "mean": 900, "sd": 1, "min": 4, "max": 9}, r"only 0.00%"),
        ({"dist": "list", "values": []}, "not empty"),
        ({"dist": "list", "values": [5, 2]}, "at least 4"),
    ],
)
def test_what_cannot_be_a_length_is_said(value: object, found: str) -> None:
    with pytest.raises(Unfit, match=found):
        length_from(value, 4)
