"""Instants and queues, in virtual time."""

from __future__ import annotations

import math
import random
import statistics
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.engines.scripted.behaviour import parse
from quantswarm.engines.scripted.schedule import Pace, SlotQueue

MS = 1_000_000


def pace(text: str, index: int = 0, prompt_tokens: int = 0) -> Pace:
    return Pace(behaviour=parse(text), index=index, prompt_tokens=prompt_tokens)


def first(of: Pace, tokens: int, start_ns: int = 0) -> list[int]:
    return list(islice(of.instants(start_ns), tokens))


def test_instants_are_start_plus_ttft_plus_gaps() -> None:
    assert first(pace("ttft=50ms,itl=10ms"), 4, 7) == [50 * MS + 7 + k * 10 * MS for k in range(4)]
    assert first(pace("ttft=1ms,itl=list(1ms;3ms)"), 4) == [1 * MS, 2 * MS, 5 * MS, 6 * MS]


def test_prompt_tokens_add_to_the_first_token() -> None:
    assert first(pace("ttft=5ms+2ms*prompt", prompt_tokens=10), 1) == [25 * MS]


@given(st.integers(0, 10**15), st.integers(1, 10**9), st.integers(0, 10**9))
def test_lockstep_instants_are_multiples_of_the_step(start: int, step: int, ttft: int) -> None:
    found = first(pace(f"ttft={ttft}ns,lockstep={step}ns"), 3, start)
    assert all(instant % step == 0 for instant in found)
    assert 0 <= found[0] - start - ttft < step
    assert found[2] - found[1] == found[1] - found[0] == step


@given(
    st.sampled_from(["itl=3ms", "itl=exp(3ms)", "itl=list(1ms;2ms)", "lockstep=3ms"]),
    st.integers(1, 40),
    st.integers(0, 5),
)
def test_instants_do_not_depend_on_how_often_they_are_asked(
    text: str, tokens: int, index: int
) -> None:
    of = pace(f"ttft=gamma(5ms;2),{text}", index)
    found = first(of, tokens, 1000)
    assert found == first(of, tokens, 1000)
    assert found == sorted(found)
    assert of.last_ns(1000, tokens) == found[-1]


def test_requests_and_seeds_draw_differently() -> None:
    text = "ttft=exp(5ms),itl=exp(1ms)"
    assert first(pace(text, 0), 5) != first(pace(text, 1), 5)
    assert first(pace(text), 5) != first(pace(f"{text},seed=1"), 5)


def waits_ns(slots: int, load: float, *, service: str) -> list[int]:
    """Queueing times of 40,000 Poisson arrivals."""
    source = random.Random(3)
    queue, now_ns, waits = SlotQueue(slots), 0.0, []
    for number in range(40_000):
        now_ns += source.expovariate(load * slots / (10 * MS))
        of = pace(f"ttft={service}", number)
        received_ns = round(now_ns)
        start_ns = queue.admit(received_ns, lambda start, of=of: of.last_ns(start, 1))  # type: ignore[misc]
        waits.append(start_ns - received_ns)
    return waits[4000:]


def test_one_slot_with_constant_service_waits_as_m_d_1() -> None:
    load = 0.7
    expected = load * 10 * MS / (2 * (1 - load))
    assert statistics.mean(waits_ns(1, load, service="10ms")) == pytest.approx(expected, rel=0.1)


def test_several_slots_wait_as_erlang_says() -> None:
    """Exponential service has a closed form (Erlang C); constant service waits about half."""
    slots, load = 4, 0.7
    offered = slots * load
    terms = [offered**k / math.factorial(k) for k in range(slots)]
    full = offered**slots / math.factorial(slots) / (1 - load)
    expected = full / (sum(terms) + full) * 10 * MS / (slots * (1 - load))
    waited = statistics.mean(waits_ns(slots, load, service="exp(10ms)"))
    assert waited == pytest.approx(expected, rel=0.15)
    constant = statistics.mean(waits_ns(slots, load, service="10ms"))
    assert constant == pytest.approx(expected / 2, rel=0.2)


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=40))
def test_never_more_than_the_slots_at_once_and_in_order(
    slots: int, requests: list[tuple[int, int]]
) -> None:
    queue, now, spans = SlotQueue(slots), 0, []
    for gap, service in requests:
        now += gap
        start = queue.admit(now, lambda at, service=service: at + service)  # type: ignore[misc]
        assert start >= now
        spans.append((start, start + service))
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)
    for instant, _ in spans:
        assert sum(start <= instant < end for start, end in spans) <= slots
