"""What a model's name can say."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.engines.scripted.behaviour import CHOICES, Behaviour, Shape, parse
from quantswarm.engines.scripted.distribution import (
    Distribution,
    count,
    duration_ns,
    parse_distribution,
)
from quantswarm.engines.scripted.fault import INSTEAD, MIDWAY, Fault, chosen, parse_fault
from quantswarm.models.errors import UnknownName, UserMistake

UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


@given(st.integers(0, 10**4), st.sampled_from(sorted(UNITS)))
def test_durations_are_numbers_with_a_unit(number: int, unit: str) -> None:
    assert duration_ns(f"{number}{unit}") == number * UNITS[unit]


@pytest.mark.parametrize(
    "text", ["", "10", "ms", "-1ms", "1 ms", "1e3ms", "1m", "nans", "9999999s"]
)
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(UserMistake):
        duration_ns(text)


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        parse(text)
    except UserMistake:
        return


def test_everything_at_once() -> None:
    found = parse(
        "ttft=gamma(50ms;2)+0.5ms*prompt,itl=list(1ms;2ms),tokens=uniform(5..9),lockstep=12500us,"
        "slots=4,context=10,seed=7,per_event=3,split=utf8,fault=429@p:0.5,fault=reset@index:3@token:5"
    )
    assert found.ttft == Distribution(kind="gamma", parameters=(50_000_000, 2.0))
    assert found.ttft_per_prompt_token_ns == 500_000
    assert found.itl == Distribution(kind="list", parameters=(1_000_000, 2_000_000))
    assert found.tokens == Distribution(kind="uniform", parameters=(5, 9))
    assert (found.lockstep_ns, found.slots, found.context_tokens, found.seed) == (
        12_500_000,
        4,
        10,
        7,
    )
    assert found.shape == Shape(per_event=3, split="utf8")
    assert found.faults == (
        Fault(kind="429", probability=0.5),
        Fault(kind="reset", indices=(3, 3), token=5),
    )


def test_what_is_not_said_comes_from_the_base() -> None:
    base = parse("ttft=1ms,itl=2ms,per_event=2,fault=500,lockstep=5ms")
    found = parse("itl=3ms,eol=crlf,lockstep=off", base)
    assert found.ttft == base.ttft
    assert found.itl.constant == 3_000_000
    assert found.shape == Shape(per_event=2, eol="crlf")
    assert found.faults == base.faults
    assert found.lockstep_ns == 0
    assert parse("fault=none", base).faults == ()
    assert parse("", base) == base
    assert parse("") == Behaviour()


def test_defaults_are_the_first_choices() -> None:
    for key, choices in CHOICES.items():
        assert getattr(Shape(), key) == choices[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("itll=1ms", "Did you mean itl"),
        ("itl", "not KEY=VALUE"),
        ("itl=gama(1ms;2)", "Did you mean gamma"),
        ("itl=gamma(1ms)", "takes 2 values, found 1"),
        ("itl=gamma(1ms;0)", "above 0"),
        ("itl=uniform(2ms..1ms)", "above its upper end"),
        ("usage=finl", "Did you mean final"),
        ("tokens=many", "not a whole number"),
        ("fault=rest", "Did you mean reset"),
        ("fault=reset@tokn:1", "Did you mean token"),
        ("fault=reset@p:2", "from 0 to 1"),
        ("fault=200", "no such name"),
    ],
)
def test_a_mistake_is_told_with_the_choices(text: str, words: str) -> None:
    with pytest.raises(UserMistake, match=words):
        parse(text)


@pytest.mark.parametrize(
    "text",
    ["uniform(10ms..30ms)", "exp(20ms)", "gamma(20ms;3)", "lognormal(20ms;0.4)", "list(1ms;3ms)"],
)
def test_draws_have_the_mean_of_the_formula(text: str) -> None:
    distribution = parse_distribution(text, duration_ns)
    source = random.Random(1)
    drawn = [distribution.draw(source, number) for number in range(20_000)]
    assert statistics.mean(drawn) == pytest.approx(distribution.mean(), rel=0.03)
    assert distribution.constant is None


def test_a_list_goes_in_turn() -> None:
    turns = parse_distribution("list(3;1;2)", count)
    assert [turns.draw(random.Random(0), number) for number in range(5)] == [3, 1, 2, 3, 1]


def test_every_kind_of_fault_can_be_said() -> None:
    for kind in (*INSTEAD, *MIDWAY, "401", "429", "500", "503"):
        assert parse_fault(f"{kind}@every:2@for:1s").kind == kind


def test_faults_meet_the_requests_they_name() -> None:
    def met(text: str) -> list[int]:
        faults = (parse_fault(text),)
        return [index for index in range(10) if chosen(faults, 0, index)]

    assert met("500@index:3") == [3]
    assert met("500@index:2..4") == [2, 3, 4]
    assert met("500@every:5") == [4, 9]
    assert met("500") == list(range(10))
    assert met("500@p:0") == []


def test_chance_is_the_same_for_the_same_seed() -> None:
    faults = (parse_fault("500@p:0.3"),)
    first = [chosen(faults, 5, index) is not None for index in range(2000)]
    assert first == [chosen(faults, 5, index) is not None for index in range(2000)]
    assert first != [chosen(faults, 6, index) is not None for index in range(2000)]
    assert sum(first) / 2000 == pytest.approx(0.3, abs=0.05)


def test_unknown_names_are_an_error_of_the_user() -> None:
    with pytest.raises(UnknownName) as caught:
        parse("nonsense=1")
    assert caught.value.exit_code == 2
