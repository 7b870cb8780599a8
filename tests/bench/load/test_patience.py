"""An open loop is ended early when it can only miss, and never before that is certain."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.load.arrivals import Arrivals
from quantswarm.bench.load.capture import Capture, Order
from quantswarm.bench.load.child import Child
from quantswarm.bench.load.patience import GRACE_NS, GiveUp, Misses, Patience, patience_of
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.progress import Progress
from quantswarm.bench.load.scenario import Scenario
from quantswarm.bench.load.schedule import read_schedule, schedule_of
from quantswarm.bench.load.swarm import drive
from quantswarm.bench.slo import Slo

SLO = Slo(ttft_ms=60, tpot_ms=10, share=0.9)
SCENARIO = Scenario(
    name="tiny", api="completions", prompt_tokens=32, output_tokens=4, slo=SLO, drain_s=5.0
)
LATEST_NS = round(90e6) + GRACE_NS
S = 1_000_000_000


def plan_for(base_url: str, out_dir: Path, **more: Any) -> SwarmPlan:
    fields: dict[str, Any] = {"warmup_s": 0.3, "duration_s": 30.0, "ends_early": True}
    return SwarmPlan(
        base_url=base_url,
        served_name="m",
        scenario=SCENARIO,
        users=0,
        out_dir=out_dir,
        arrivals=Arrivals(kind="constant", rate=20.0),
        **{**fields, **more},
    )


def order(user: int, intended_ns: int) -> Order:
    return Order(
        uid=f"r{user}",
        user=user,
        intended_ns=intended_ns,
        payload=b"",
        expected_prompt_tokens=32,
        expected_output_tokens=4,
    )


def capture(user: int, end_ns: int, failure: str | None = None) -> Capture:
    return Capture(
        uid=f"r{user}",
        user=user,
        intended_ns=0,
        sent_ns=0,
        end_ns=end_ns,
        conn_reused=False,
        closed=False,
        failure=failure,
        error=None,
        expected_prompt_tokens=32,
        expected_output_tokens=4,
        stamps=(),
        segments=(),
    )


def test_a_request_is_lost_when_it_is_older_than_its_limits_allow() -> None:
    misses = Misses(SLO)
    misses.begun(order(1, 0))
    assert misses.count(LATEST_NS) == 0
    assert misses.count(LATEST_NS + 1) == 1
    misses.ended(capture(1, 5 * S), failed=False)
    assert misses.count(0) == 1


def test_what_came_in_time_or_was_cut_off_by_us_is_not() -> None:
    misses = Misses(SLO)
    for user in (1, 2):
        misses.begun(order(user, 0))
    misses.ended(capture(1, LATEST_NS), failed=False)
    misses.ended(capture(2, 9 * S, "interrupted"), failed=True)
    assert misses.count(10 * S) == 0


@pytest.mark.parametrize("slo", [None, Slo(), Slo(ttft_ms=1)])
def test_without_a_limit_of_the_whole_only_failures_are_certain(slo: Slo | None) -> None:
    misses = Misses(slo)
    for user in (1, 2):
        misses.begun(order(user, 0))
    misses.ended(capture(1, 9 * S, "reset"), failed=True)
    assert misses.count(10**15) == 1


def progress(phase: str = "window", *, misses: int = 0, users: int = 0) -> Progress:
    return Progress(
        phase=phase,
        elapsed_s=1,
        users=users,
        started=0,
        finished=0,
        failures=0,
        tokens=0,
        misses=misses,
    )


def test_the_bounds_come_from_the_plan(tmp_path: Path) -> None:
    plan = plan_for("http://h/v1", tmp_path)
    patience = patience_of(plan, schedule_of(plan))
    assert patience == Patience(planned=600, most_misses=60, most_waiting=202)
    assert patience_of(dataclasses.replace(plan, ends_early=False), ()) is None


def test_patience_ends_one_beyond_the_bound_and_never_in_the_warm_up() -> None:
    patience = Patience(planned=600, most_misses=60, most_waiting=200)
    told: list[Progress] = []
    follow = patience.watching(told.append)
    for allowed in (progress(misses=60, users=200), progress("warm-up", misses=61, users=999)):
        follow(allowed)
    for spent in (progress(misses=61), progress("drain", misses=61), progress(users=201)):
        with pytest.raises(GiveUp):
            follow(spent)
    assert len(told) == 5


def silent(asked: Any, to: socket.socket) -> bool:
    """Keeps every answer back until the peer goes."""
    return not to.recv(1)


def test_a_hopeless_run_is_ended_whole(serve: Any, tmp_path: Path) -> None:
    result = drive(plan_for(serve(silent).base_url, tmp_path))
    assert result.ended_early is not None
    assert "missed the objectives" in result.ended_early
    assert not result.interrupted
    assert "ended-early" in [warning.name for warning in result.warnings]
    assert not {"stopped-early", "records-missing"} & {w.name for w in result.warnings}
    assert result.recorded == result.started < len(read_schedule(tmp_path)) / 2
    assert result.window.start_ns is not None
    assert result.window.end_ns is not None
    assert result.window.end_ns - result.window.start_ns < 20 * S
    assert result.invalid_reason is None or "missed" in result.invalid_reason


def test_the_same_run_goes_on_where_nobody_asked_for_that(serve: Any, tmp_path: Path) -> None:
    plan = plan_for(serve(silent).base_url, tmp_path, duration_s=2.5, drain_s=0.2, ends_early=False)
    result = drive(plan)
    assert result.ended_early is None
    assert result.recorded == len(read_schedule(tmp_path))


def test_a_good_run_is_never_ended(serve: Any, wire: Any, tmp_path: Path) -> None:
    slow = dataclasses.replace(SCENARIO, slo=Slo(ttft_ms=60_000, tpot_ms=60_000))
    plan = dataclasses.replace(
        plan_for(serve(wire.good).base_url, tmp_path, duration_s=2.5), scenario=slow
    )
    result = drive(plan)
    assert result.ended_early is None
    assert result.outcomes == {"ok": len(read_schedule(tmp_path))}


def test_ctrl_c_while_it_is_ended_is_not_lost(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes between the decision and the end: whoever pressed it wants the whole search over."""
    asked: list[Child] = []

    def pressed(process: Child) -> None:
        asked.append(process)
        if len(asked) == 1:
            raise KeyboardInterrupt
        stop(process)

    stop = Child.ask_to_stop
    monkeypatch.setattr(Child, "ask_to_stop", pressed)
    assert drive(plan_for(serve(silent).base_url, tmp_path)).interrupted
    assert asked
