import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import MS, START, Load, S, failed, record

from quantswarm.bench.judge import rate
from quantswarm.bench.judge.records import Record, _record
from quantswarm.bench.judge.window import Cut, Window, cut

WINDOW = Window(
    swarm_start_ns=START, start_ns=START + 10 * S, end_ns=START + 20 * S, drained_ns=START + 25 * S
)


def _cut(made: list[dict[str, Any]], users: int = 1, window: Window = WINDOW) -> Cut:
    records: list[Record] = [_record(json.dumps(one).encode()) for one in made]
    return cut(records, window, users=users)


def _long(number: int, start_s: float, tokens: int, gap_ms: int, **changed: Any) -> dict[str, Any]:
    start = START + int(start_s * S)
    stamps = [start + (i + 1) * gap_ms * MS for i in range(tokens)]
    return record(
        number,
        start,
        event_ns=stamps,
        event_tokens=[1] * tokens,
        end_ns=stamps[-1],
        output_tokens=tokens,
        **changed,
    )


def test_the_window_goes_by_start_and_not_by_completion() -> None:
    early = _long(1, 9.99, 10, 500)  # begins before the window, ends inside
    slow = _long(2, 19.9, 20, 200)  # begins inside, ends in the drain
    late = _long(3, 20.0, 1, 1)  # begins at the end, which is outside
    part = _cut([slow, late, early])
    assert [one.id for one in part.started] == ["r2"]


def test_order_in_the_file_changes_nothing() -> None:
    made = Load(users=4, jitter=0.4).records()
    shuffled = random.Random(5).sample(made, len(made))
    window = Window(**Load().window())
    a, b = _cut(made, 4, window), _cut(shuffled, 4, window)
    assert [r.id for r in a.started] == [r.id for r in b.started]
    assert rate.output_throughput(a) == rate.output_throughput(b)


def test_throughput_counts_tokens_inside_whoever_they_belong_to() -> None:
    early = _long(1, 9.0, 20, 100)  # 10 tokens from the window's start on
    inside = _long(2, 12.0, 30, 100)
    slow = _long(3, 19.0, 20, 100)  # 9 tokens before the window's end
    assert rate.output_throughput(_cut([early, inside, slow])) == pytest.approx((11 + 30 + 9) / 10)


def test_a_request_longer_than_the_window_still_gives_the_true_rate() -> None:
    """Counting finished requests would give 0 here."""
    long = _long(1, 10.0, 400, 100)
    assert rate.output_throughput(_cut([long])) == pytest.approx(9.9)


@given(st.lists(st.tuples(st.floats(0, 24), st.integers(1, 60), st.integers(1, 400)), min_size=1))
def test_throughput_is_stamps_in_the_window_over_its_length(
    requests: list[tuple[float, int, int]],
) -> None:
    made = [_long(i, start, n, gap) for i, (start, n, gap) in enumerate(requests)]
    part = _cut([*made, _long(-1, 15.0, 1, 1)])
    inside = [t for one in made for t in one["event_ns"] if WINDOW.holds(t)]
    assert rate.output_throughput(part) == pytest.approx((len(inside) + 1) / 10)


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40))
def test_rates_leave_failures_out_and_the_failure_share_does_not(
    before: int, good: int, bad: int
) -> None:
    made = [failed(i, START + S, "timeout") for i in range(before)]
    made += [record(100 + i, START + 11 * S + i * MS) for i in range(good)]
    made += [failed(200 + i, START + 12 * S + i * MS) for i in range(bad)]
    part = _cut(made)
    assert rate.request_throughput(part) == pytest.approx(good / 10)
    assert rate.output_throughput(part) == pytest.approx(4 * good / 10)
    assert rate.failure_share(part) == pytest.approx(bad / (good + bad))


def test_tokens_of_failures_do_not_count_and_those_cut_off_by_the_client_do() -> None:
    good = _long(1, 12.0, 10, 100)
    short = _long(2, 12.0, 10, 100, outcome="short")
    cut_off = _long(3, 15.0, 40, 100, outcome="interrupted")
    assert rate.output_throughput(_cut([good, short])) == pytest.approx(1.0)
    assert rate.output_throughput(_cut([good, cut_off])) == pytest.approx(5.0)


def test_without_a_whole_answer_rates_are_unknown_and_not_zero() -> None:
    part = _cut([failed(1, START + 12 * S)])
    assert rate.output_throughput(part) is None
    assert rate.request_throughput(part) is None
    assert rate.failure_share(part) == 1.0
    assert rate.failure_share(_cut([])) is None


def test_concurrency_is_time_in_flight_over_the_window() -> None:
    made = [_long(1, 5.0, 10, 1000), _long(2, 12.0, 5, 1000), _long(3, 18.0, 9, 1000)]
    assert rate.concurrency(_cut(made)) == pytest.approx((5 + 5 + 2) / 10)


def test_prefill_and_decode_are_known_for_one_user_only() -> None:
    made = [_long(1, 12.0, 10, 100)]
    assert rate.prefill_rate(_cut(made)) == pytest.approx(1280)
    assert rate.decode_rate(_cut(made)) == pytest.approx(10)
    assert rate.prefill_rate(_cut(made, users=2)) is None
    assert rate.decode_rate(_cut(made, users=2)) is None


def test_the_servers_own_speeds_are_taken_where_given() -> None:
    timings = {"prompt_per_second": 900.0, "predicted_per_second": 80.0}
    part = _cut([_long(1, 12.0, 10, 100, server_timings=timings), _long(2, 13.0, 10, 100)])
    assert rate.server_prefill_rate(part) == 900.0
    assert rate.server_decode_rate(part) == 80.0


def test_shares() -> None:
    made = [
        _long(1, 12.0, 10, 100, coalesced=2, cached_tokens=64),
        _long(2, 13.0, 10, 100, conn_reused=False, cached_tokens=None),
    ]
    part = _cut(made)
    assert rate.coalesced_share(part) == 0.1
    assert rate.conn_reused_share(part) == 0.5
    assert rate.cached_share(part) == 0.5
    assert rate.cached_share(_cut(made[1:])) is None


def test_later_turns_are_no_arrivals() -> None:
    talk = [
        _long(turn, 11 + turn, 4, 10, conversation="r1", turn=turn, part=None) for turn in (1, 2, 3)
    ]
    records = [_record(json.dumps(one).encode()) for one in [*talk, _long(9, 15, 4, 10)]]
    part = cut(records, WINDOW, users=0, open_loop=True)
    assert rate.offered_rate(part) == pytest.approx(2 / 10)
    assert rate.achieved_rate(part) == pytest.approx(4 / 10)
