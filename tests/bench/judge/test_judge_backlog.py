"""Overload of an open loop: found where the backlog grows, and only there."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from made_run import MS, START, S, failed, record

from quantswarm.bench.judge.backlog import backlog
from quantswarm.bench.judge.cell import judge
from quantswarm.bench.judge.rate import achieved_rate, concurrency, failure_share, offered_rate
from quantswarm.bench.judge.records import _record
from quantswarm.bench.judge.window import Cut, Window, cut

WINDOW = Window(
    swarm_start_ns=START, start_ns=START + 5 * S, end_ns=START + 35 * S, drained_ns=START + 90 * S
)


def queue(rate: float, service_s: float, seed: int = 1, slots: int = 4) -> list[dict[str, Any]]:
    """Poisson arrivals at a server of a few places, first come first served: known saturation."""
    chance = random.Random(seed)
    free = [0.0] * slots
    made: list[dict[str, Any]] = []
    at = 0.0
    while (at := at + chance.expovariate(rate)) < 35:
        free.sort()
        free[0] = max(at, free[0]) + service_s
        begin, end = START + int(at * S), START + int(free[0] * S)
        stamps = [end - MS, end]
        more = {"event_ns": stamps, "event_tokens": [1, 1], "output_tokens": 2}
        made.append(record(len(made), begin, sent_ns=begin + 1000, end_ns=end, **more))
    return made


def cut_of(made: list[dict[str, Any]], *, open_loop: bool = True) -> Cut:
    records = [_record(json.dumps(one).encode()) for one in made]
    return cut(records, WINDOW, users=0, open_loop=open_loop)


@pytest.mark.parametrize("seed", range(8))
def test_growth_is_found_on_the_right_side_of_saturation(seed: int) -> None:
    """Four places of 0.2 s saturate at 20 a second."""
    for rate, growing in [(10.0, False), (16.0, False), (24.0, True), (40.0, True)]:
        found = backlog(cut_of(queue(rate, 0.2, seed)))
        assert found is not None
        assert found.growing is growing, (rate, found)


def test_dropped_arrivals_are_backlog_too() -> None:
    """A full cap keeps the number in flight level; what it turns away is never answered."""
    made = queue(10.0, 0.2)
    level = [
        failed(one_number, one["intended_ns"], "dropped", sent_ns=None)
        if one_number % 3 == 0
        else one
        for one_number, one in enumerate(made)
    ]
    found = backlog(cut_of(level))
    assert found is not None
    assert found.growing


def test_too_little_says_nothing() -> None:
    assert backlog(cut_of(queue(1.0, 0.2))) is None


def test_offered_and_achieved_rate() -> None:
    made = [record(n, START + n * S // 2, sent_ns=START + n * S // 2) for n in range(70)]
    made[40] = failed(40, made[40]["intended_ns"], "dropped", sent_ns=None)
    late = START + 36 * S  # due inside the window, sent after it
    made[69] = failed(69, made[69]["intended_ns"], "refused", sent_ns=late, end_ns=late + MS)
    part = cut_of(made)
    assert offered_rate(part) == pytest.approx(60 / 30)
    assert achieved_rate(part) == pytest.approx(58 / 30)
    assert failure_share(part) == pytest.approx(2 / 60)
    assert concurrency(part) is not None
    closed = cut_of(made, open_loop=False)
    assert offered_rate(closed) is None
    assert achieved_rate(closed) == achieved_rate(part)
    assert offered_rate(cut_of([])) == 0
    assert achieved_rate(cut_of([])) is None


def test_an_unstable_cell_says_so_and_a_closed_loop_never_does(tmp_path: Path) -> None:
    made = queue(40.0, 0.2)
    names = {}
    for arrivals in ({"kind": "poisson", "rate": 40.0}, None):
        folder = tmp_path / str(arrivals is None)
        folder.mkdir()
        text = "".join(json.dumps(one) + "\n" for one in made)
        (folder / "records.jsonl").write_text(text)
        window = {name: getattr(WINDOW, name) for name in WINDOW.__slots__}
        manifest = {
            "schema": 1,
            "engine": "e",
            "quant": "q",
            "model": "m",
            "users": 0,
            "status": "ok",
            "window": window,
            "arrivals": arrivals,
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
        found = judge(folder)
        assert found.status == ("ok" if arrivals is None else "invalid")
        assert (found.latencies["ttft"].quantiles["p50"] is None) == (arrivals is not None)
        assert found.latencies["ttft"].n > 60
        names[arrivals is None] = [warning["name"] for warning in found.warnings]
    assert "unstable" in names[False]
    assert "unstable" not in names[True]


def offered(rho: float, seed: int, slots: int = 4) -> bool:
    """Whether a load of `rho` times the capacity of a queue, 600 arrivals at 1, looks unstable."""
    found = backlog(cut_of(queue(rho * 20, slots / 20, seed, slots)))
    assert found is not None
    return found.growing


@pytest.mark.parametrize(("rho", "least", "most"), [(0.9, 0, 1), (1.2, 17, 20), (1.3, 20, 20)])
def test_how_often_it_is_right_near_saturation(rho: float, least: int, most: int) -> None:
    """Of twenty seeds; between the two a window of 600 arrivals cannot tell."""
    assert least <= sum(offered(rho, seed) for seed in range(20)) <= most


def even(rate: float, service_s: float) -> list[dict[str, Any]]:
    """Evenly spaced arrivals at one place."""
    free, made = 0.0, []
    for number in range(int(35 * rate)):
        at = number / rate
        free = max(at, free) + service_s
        begin, end = START + int(at * S), START + int(free * S)
        more = {"event_ns": [end - MS, end], "event_tokens": [1, 1], "output_tokens": 2}
        made.append(record(number, begin, sent_ns=begin + 1000, end_ns=end, **more))
    return made


@pytest.mark.parametrize(("rate", "growing"), [(19.0, False), (20.0, False), (20.8, True)])
def test_even_arrivals_leave_less_to_chance(rate: float, growing: bool) -> None:
    found = backlog(cut_of(even(rate, 0.05)))
    assert found is not None
    assert found.growing is growing
    assert found.dispersion < 0.1


def test_a_server_that_only_fills_up_is_not_overloaded() -> None:
    """Answers of 12 s, warm-up of 5: more and more in flight for 7 s, then no more."""
    made = []
    for number in range(35 * 40):
        begin = START + number * S // 40
        end = begin + 12 * S
        more = {"event_ns": [end - MS, end], "event_tokens": [1, 1], "output_tokens": 2}
        made.append(record(number, begin, sent_ns=begin + 1000, end_ns=end, **more))
    found = backlog(cut_of(made))
    assert found is not None
    assert found.thirds[2] > found.thirds[0] + 0.02 * found.arrivals
    assert not found.growing
