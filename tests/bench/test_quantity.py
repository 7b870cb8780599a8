"""Numbers on the command line: what is read, what is refused, and that the option is named."""

from __future__ import annotations

import pytest

from quantswarm.bench import quantity
from quantswarm.models.errors import UserMistake


def test_what_is_in_bounds_is_read() -> None:
    assert quantity.count("--users")("12") == 12
    assert quantity.count_or_auto("--processes")("3") == 3
    assert quantity.count_or_auto("--processes")("auto") is None
    assert quantity.port("--port")("0") == 0
    assert quantity.port("--port")("65535") == 65535
    assert quantity.seed("--seed")("-3") == -3
    assert quantity.seconds("--duration")("0.5") == 0.5
    assert quantity.seconds("--warmup", zero=True)("0") == 0


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", ""])
def test_a_count_is_a_whole_number_of_one_or_more(text: str) -> None:
    with pytest.raises(UserMistake, match=r"--users .*not a whole number of 1 or more") as caught:
        quantity.count("--users")(text)
    assert caught.value.next_step


@pytest.mark.parametrize("text", ["-1", "65536", "http"])
def test_a_port_is_one(text: str) -> None:
    with pytest.raises(UserMistake, match="from 0 to 65535"):
        quantity.port("--port")(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e9", "soon"])
def test_a_duration_is_a_time_above_nothing(text: str) -> None:
    with pytest.raises(UserMistake, match="more than 0 seconds"):
        quantity.seconds("--duration")(text)


@pytest.mark.parametrize("text", ["-0.1", "nan"])
def test_a_warm_up_may_be_nothing_but_not_less(text: str) -> None:
    with pytest.raises(UserMistake, match="0 or more seconds"):
        quantity.seconds("--warmup", zero=True)(text)


def test_a_seed_is_a_whole_number() -> None:
    with pytest.raises(UserMistake, match="not a whole number"):
        quantity.seed("--seed")("x")
