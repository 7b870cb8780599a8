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
