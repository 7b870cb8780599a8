"""What a client recorded against what the server did, on made records and made entries."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.judge.records import Record
from quantswarm.bench.judge.window import Window
from quantswarm.bench.selftest.compare_ledger import (
    Entry,
    errors_of,
    joined,
    miscounts,
    quantile,
)

WINDOW = Window(swarm_start_ns=0, start_ns=0, end_ns=10**9, drained_ns=None)
GAPS = st.lists(st.integers(1_000, 10**8), min_size=2, max_size=30)


def record(events: list[int], *, uid: str = "a", sent_ns: int = 0, **more: Any) -> Record:
    fields: dict[str, Any] = {
        "id": uid,
        "user": 0,
        "intended_ns": sent_ns,
        "sent_ns": sent_ns,
        "first_byte_ns": events[0] if events else None,
        "end_ns": (events or [sent_ns])[-1],
        "event_ns": tuple(events),
        "event_tokens": (1,) * len(events),
        "coalesced": 0,
        "prompt_tokens": 3,
        "output_tokens": len(events),
        "expected_prompt_tokens": None,
        "expected_output_tokens": len(events),
        "finish_reason": "length",
        "http_status": 200,
        "conn_reused": False,
        "outcome": "ok",
        "error": None,
        "server_timings": None,
        "cached_tokens": None,
    }
    return Record(**{**fields, **more})


def entry(sent: list[int], *, uid: str = "a", received_ns: int = 0, **more: Any) -> Entry:
    fields: dict[str, Any] = {
        "id": uid,
        "model": "scripted",
        "received_ns": received_ns,
        "prompt_tokens": 3,
        "tokens": len(sent),
        "event_tokens": (1,) * len(sent),
        "scheduled_ns": tuple(sent),
        "sent_ns": tuple(sent),
        "outcome": "ok",
        "fault": None,
    }
    return Entry(**{**fields, **more})


def instants(gaps: list[int]) -> list[int]:
    return [sum(gaps[: at + 1]) for at in range(len(gaps))]


@given(GAPS, st.integers(0, 10**9))
def test_a_client_that_is_always_late_by_the_same_sees_every_interval_right(
    gaps: list[int], late_ns: int
) -> None:
    sent = instants(gaps)
    found = errors_of([record([at + late_ns for at in sent])], [entry(sent)], WINDOW, None)
    assert set(found.itl_ms) == {0.0}
    assert found.tpot == (0.0,)
    assert found.ttft_ms == (late_ns / 1e6,)
    assert found.throughputs == ()


@given(GAPS, st.data())
def test_one_late_event_spoils_the_gaps_on_both_sides(gaps: list[int], data: Any) -> None:
    sent = instants(gaps)
    place = data.draw(st.integers(1, len(sent) - 1))
    late_ns = data.draw(st.integers(1, 10**6))
    seen = [at + late_ns * (number == place) for number, at in enumerate(sent)]
    found = errors_of([record(sorted(seen))], [entry(sent)], WINDOW, None)
    if sorted(seen) == seen:
        wrong = [error for error in found.itl_ms if error]
        assert wrong == [late_ns / 1e6] * (1 if place == len(sent) - 1 else 2)


def test_a_glued_answer_is_as_wrong_as_its_gaps_were_long() -> None:
    found = errors_of([record([30, 30, 30])], [entry([10, 20, 30])], WINDOW, None)
    assert found.itl_ms == (10 / 1e6, 10 / 1e6)
    assert found.tpot == (1.0,)


def test_an_event_of_several_tokens_counts_as_several() -> None:
    truth = entry([0, 4], event_tokens=(1, 4), tokens=5)
    found = errors_of([record([0, 8], output_tokens=5)], [truth], WINDOW, None)
    assert found.itl_ms == (1e-6,) * 4


def test_throughput_is_what_left_inside_the_window() -> None:
    sent = [1, 2, 10**9 - 1, 10**9]
    found = errors_of([record(sent)], [entry(sent)], WINDOW, 4.0)
    assert found.throughputs == ((4.0, 3.0),)
    assert found.throughput == pytest.approx(1 / 3)
    assert joined([found, found]).throughput == pytest.approx(1 / 3)


def test_the_servers_lateness_is_its_own() -> None:
    late = entry([3_000_000], scheduled_ns=(1_000_000,))
    assert errors_of([], [late], WINDOW, None).lateness_ms == (2.0,)


def test_a_burst_is_as_late_as_its_first_event() -> None:
    burst = [entry([at], uid=str(at), scheduled_ns=(1_000_000,)) for at in (4_000_000, 3_000_000)]
    assert errors_of([], burst, WINDOW, None).lateness_ms == (2.0,)


def test_failed_answers_have_no_errors_of_time() -> None:
    found = errors_of([record([5], outcome="reset")], [entry([1])], WINDOW, None)
    assert (found.ttft_ms, found.itl_ms, found.tpot) == ((), (), ())


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1))
def test_a_quantile_is_one_of_the_values(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert quantile(values, 1.0) == max(values)


def test_nothing_has_no_quantile() -> None:
    assert quantile([], 0.5) is None


def test_equal_sides_have_nothing_to_complain_of() -> None:
    assert miscounts([record([1, 2])], [entry([1, 2])]) == ()


@pytest.mark.parametrize(
    ("made", "kept", "words"),
    [
        ([], ["a"], "no record"),
        (["a"], [], "no server saw it"),
    ],
)
def test_a_request_that_one_side_lacks(made: list[str], kept: list[str], words: str) -> None:
    found = miscounts([record([1], uid=x) for x in made], [entry([1], uid=x) for x in kept])
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize("outcome", ["ok", "short", "truncated", "error_event"])
def test_a_token_less_or_more_is_found(outcome: str) -> None:
    for seen in ([1], [1, 2, 3]):
        made = record(seen, outcome=outcome, output_tokens=2)
        assert len(miscounts([made], [entry([1, 2])])) == 1


def test_who_left_early_may_have_missed_something_but_invented_nothing() -> None:
    assert miscounts([record([1], outcome="stalled")], [entry([1, 2])]) == ()
    assert miscounts([record([1, 2], outcome="stalled")], [entry([1])]) != ()


def test_a_prompt_of_another_length_is_found() -> None:
    (found,) = miscounts([record([1], prompt_tokens=4)], [entry([1])])
    assert "prompt of 4, not 3" in found


def test_a_server_that_is_gone_keeps_no_ledger() -> None:
    assert miscounts([record([], outcome="refused", sent_ns=0)], []) == ()
