import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import MS, START, record

from quantswarm.bench.judge import latency
from quantswarm.bench.judge.records import Record, _record


def _made(**changed: Any) -> Record:
    return _record(json.dumps(record(1, START, **changed)).encode())


def _events(offsets_ms: list[int], tokens: list[int], **changed: Any) -> Record:
    stamps = [START + offset * MS for offset in offsets_ms]
    return _made(event_ns=stamps, event_tokens=tokens, end_ns=START + 10**12, **changed)


def test_latencies_of_a_plain_answer() -> None:
    made = _made(sent_ns=START + 2 * MS)
    assert latency.ttft(made) == (50.0,)
    assert latency.ttft_sent(made) == (48.0,)
    assert latency.client_delay(made) == (2.0,)
    assert latency.tpot(made) == (10.0,)
    assert latency.itl(made) == (10.0, 10.0, 10.0)
    assert latency.icl(made) == (10.0, 10.0, 10.0)
    assert latency.e2e(made) == (80.0,)


def test_tpot_under_two_tokens_is_undefined_and_not_zero() -> None:
    assert latency.tpot(_events([50], [1], output_tokens=1)) == ()
    assert latency.tpot(_events([], [], output_tokens=0)) == ()


def test_tpot_of_one_event_with_all_tokens_is_undefined() -> None:
    assert latency.tpot(_events([50], [8], output_tokens=8)) == ()


def test_tpot_uses_the_servers_count_and_else_the_events() -> None:
    assert latency.tpot(_events([0, 90], [1, 1], output_tokens=10)) == (10.0,)
    assert latency.tpot(_events([0, 90], [1, 9], output_tokens=None)) == (10.0,)


def test_an_event_of_n_tokens_is_n_gaps() -> None:
    made = _events([50, 80, 90], [1, 3, 1])
    assert latency.itl(made) == (10.0, 10.0, 10.0, 10.0)
    assert latency.icl(made) == (30.0, 10.0)


def test_an_event_without_token_lengthens_the_next_gap() -> None:
    assert latency.itl(_events([50, 60, 70], [1, 0, 1])) == (20.0,)


def test_without_events_there_are_no_latencies() -> None:
    made = _events([], [], output_tokens=None)
    for metric in latency.LATENCIES:
        if metric.name != "client_delay":
            assert metric.of(made) == ()


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 9)), min_size=2, max_size=50))
def test_itl_has_a_sample_a_token_and_sums_to_the_whole(events: list[tuple[int, int]]) -> None:
    offsets, at = [], 0
    for gap, _ in events:
        at += gap
        offsets.append(at)
    made = _events(offsets, [tokens for _, tokens in events])
    samples = latency.itl(made)
    assert len(samples) == sum(tokens for _, tokens in events[1:])
    assert sum(samples) == pytest.approx(offsets[-1] - offsets[0])
    assert sum(latency.icl(made)) == pytest.approx(sum(samples))
