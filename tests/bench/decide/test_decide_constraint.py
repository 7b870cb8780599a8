"""The grammar of constraints, and the price of a token."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.decide.constraint import Constraint, constraint, parse_constraints
from quantswarm.bench.decide.price import (
    TABLE,
    Price,
    given_price,
    price_of,
    store_price,
    stored_price,
)
from quantswarm.bench.decide.quantities import QUANTITIES
from quantswarm.bench.decide.use_case import USE_CASES, use_case_named
from quantswarm.models.errors import BadFile, UnknownName, UserMistake


@given(
    st.sampled_from(sorted(QUANTITIES)),
    st.sampled_from(["<", "<=", ">", ">="]),
    st.floats(-1e6, 1e6),
)
def test_what_is_written_is_read(name: str, sign: str, limit: float) -> None:
    found = constraint(f" {name} {sign} {limit!r} ")
    assert (found.name, found.sign, found.limit) == (name, sign, limit)


def test_several_in_one_text_or_in_many() -> None:
    both = parse_constraints(["ttft_p95_ms<200,memory_gb<=4"])
    assert both == parse_constraints(["ttft_p95_ms < 200", "memory_gb <= 4"])


@pytest.mark.parametrize(
    "text", ["", "ttft_p95_ms", "ttft_p95_ms<", "ttft_p95_ms<200ms", "ttft_p95_ms=200", "<3"]
)
def test_anything_else_is_a_mistake_with_an_example(text: str) -> None:
    with pytest.raises(UserMistake, match=r"e\.g\. --constraint") as found:
        parse_constraints([text])
    assert found.value.exit_code == 2


@pytest.mark.parametrize("text", ["memory_gb<nan", "memory_gb<inf", "memory_gb<1,,kl_mean<1"])
def test_numbers_are_finite_and_nothing_is_empty(text: str) -> None:
    with pytest.raises(UserMistake):
        parse_constraints([text])


def test_unknown_names_have_near_misses() -> None:
    with pytest.raises(UnknownName, match="Did you mean ttft_p95_ms"):
        constraint("ttft_p95<200")


@given(st.floats(0.1, 1e4), st.floats(0.1, 1e4))
def test_beyond_is_nothing_exactly_where_it_holds(value: float, limit: float) -> None:
    found = Constraint(name="memory_gb", sign="<=", limit=limit)
    assert (found.beyond(value) == 0) == found.holds(value)
    assert Constraint(name="memory_gb", sign="<", limit=100).beyond(125) == 0.25


def test_a_million_tokens_at_1000_a_second_take_1000_seconds() -> None:
    price = given_price(3.6, None)
    assert price is not None
    assert price.per_million(1000.0) == pytest.approx(1.0)
    assert price.per_million(None) is None


def test_the_table_of_prices_is_whole_and_dated() -> None:
    import tomllib

    for name in tomllib.loads(TABLE.read_text(encoding="utf-8")):
        found = price_of(name)
        assert found.per_hour > 0
        assert found.as_of
        assert "list price on demand" in found.source
        assert "check it" in found.words
    with pytest.raises(UnknownName, match=r"Did you mean .*aws-c7i\.xlarge"):
        price_of("aws-c7i.xlarg")
    with pytest.raises(UserMistake, match="two prices"):
        given_price(1.0, "aws-c7i.xlarge")


def test_a_price_is_kept_with_a_run(tmp_path: Path) -> None:
    assert stored_price(tmp_path) is None
    price = Price(per_hour=0.5, currency="EUR", source="our own")
    store_price(tmp_path, price)
    assert stored_price(tmp_path) == price
    (tmp_path / "price.json").write_text('{"per_hour": "much"}')
    with pytest.raises(BadFile, match="not a price"):
        stored_price(tmp_path)


def test_use_cases_ask_for_declared_quantities_alone() -> None:
    assert set(USE_CASES) == {"chat", "code", "maths", "long-context", "edge"}
    for case in USE_CASES.values():
        assert set(case.goals) <= set(QUANTITIES)
        assert all(QUANTITIES[goal].larger_is_better is not None for goal in case.goals)
    with pytest.raises(UnknownName, match="Did you mean chat"):
        use_case_named("chatt")
