"""The open loop from end to end: planned starts are kept whatever the server does."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.load.arrivals import Arrivals
from quantswarm.bench.load.plan import SwarmPlan, loads
from quantswarm.bench.load.scenario import Scenario
from quantswarm.bench.load.schedule import SCHEDULE, read_schedule, schedule_of
from quantswarm.bench.load.spool import captures
from quantswarm.bench.load.swarm import RECORDS, SwarmResult, drive
from quantswarm.models.errors import UserMistake

SCENARIO = Scenario(name="tiny", api="completions", prompt_tokens=32, output_tokens=4)


def plan_for(base_url: str, out_dir: Path, **more: Any) -> SwarmPlan:
    arrivals = {"rate": 30.0, **more.pop("arrivals", {})}
    fields: dict[str, Any] = {"users": 0, "warmup_s": 0.3, "duration_s": 2.0, "drain_s": 5.0}
    return SwarmPlan(
        base_url=base_url,
        served_name="m",
        scenario=SCENARIO,
        out_dir=out_dir,
        arrivals=Arrivals(**arrivals),
        **{**fields, **more},
    )


def records_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / RECORDS).read_text().splitlines()]


def in_window(result: SwarmResult, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if result.window.holds(record["intended_ns"])]


class Gate:
    """Answers while open; a closed gate keeps every answer back, as a stopped process would."""

    def __init__(self, wire: Any) -> None:
        self._wire = wire
        self._open = threading.Event()
        self._open.set()

    def freeze(self, seconds: float) -> None:
        self._open.clear()
        threading.Timer(seconds, self._open.set).start()

    def __call__(self, asked: Any, to: socket.socket) -> bool:
        self._open.wait(30)
        kept: bool = self._wire.good(asked, to)
        return kept


@pytest.mark.parametrize("kind", ["constant", "poisson"])
def test_every_arrival_begins_when_the_plan_says(
    serve: Any, wire: Any, tmp_path: Path, kind: str
) -> None:
    server = serve(wire.good)
    plan = plan_for(server.base_url, tmp_path, arrivals={"kind": kind})
    result = drive(plan)
    schedule, records = read_schedule(tmp_path), records_in(tmp_path)
    begin_ns = result.window.swarm_start_ns
    assert begin_ns is not None
    planned = {arrival.index: begin_ns + arrival.offset_ns for arrival in schedule}
    assert {record["user"]: record["intended_ns"] for record in records} == planned
    assert len(records) == len(planned) == result.started == len(server.asked)
    assert all(record["sent_ns"] >= record["intended_ns"] for record in records)
    assert result.outcomes == {"ok": len(records)}
    assert schedule == schedule_of(plan)
    assert result.harness["arrivals_planned"] == len(schedule)
    assert result.harness["arrivals_dropped"] == 0
    assert 0 <= result.harness["dispatch_delay_p50_ms"] <= result.harness["dispatch_delay_max_ms"]
    assert "users-changed" not in [warning.name for warning in result.warnings]


def test_arrivals_over_the_cap_are_dropped_and_counted(
    serve: Any, wire: Any, tmp_path: Path
) -> None:
    gate = Gate(wire)
    gate.freeze(2.0)
    server = serve(gate)
    plan = plan_for(server.base_url, tmp_path, arrivals={"kind": "constant", "max_in_flight": 3})
    result = drive(plan)
    records = records_in(tmp_path)
    dropped = [record for record in records if record["outcome"] == "dropped"]
    assert dropped
    assert all(record["sent_ns"] is None and not record["event_ns"] for record in dropped)
    assert len(dropped) == result.harness["arrivals_dropped"] == result.outcomes["dropped"]
    assert len(server.asked) == len(records) - len(dropped)
    assert len(records) == len(read_schedule(tmp_path)) == result.started
    assert result.harness["most_in_flight"] == 3
    assert "arrivals-dropped" in [warning.name for warning in result.warnings]
    assert {r["id"] for r in dropped}.isdisjoint(
        asked.body["prompt"].split()[0] for asked in server.asked
    )


def test_connections_are_used_again(serve: Any, wire: Any, tmp_path: Path) -> None:
    server = serve(wire.good)
    result = drive(plan_for(server.base_url, tmp_path))
    assert server.connections <= result.harness["most_in_flight"] < result.started
    assert sum(record["conn_reused"] for record in records_in(tmp_path)) > result.started / 2


def test_who_is_in_flight_when_the_drain_ends_is_interrupted(
    serve: Any, wire: Any, tmp_path: Path
) -> None:
    gate = Gate(wire)
    gate.freeze(20.0)
    plan = plan_for(serve(gate).base_url, tmp_path, duration_s=0.5, drain_s=0.2)
    result = drive(plan)
    assert result.outcomes == {"interrupted": len(read_schedule(tmp_path))}
    assert result.invalid_reason is None


def test_a_stopped_run_has_a_record_of_each_that_began(
    serve: Any, wire: Any, tmp_path: Path
) -> None:
    def stop(progress: Any) -> None:
        if progress.phase == "window":
            raise KeyboardInterrupt

    result = drive(plan_for(serve(wire.good).base_url, tmp_path, duration_s=60.0), stop)
    assert result.interrupted
    assert 0 < result.recorded == result.started < len(read_schedule(tmp_path))
    assert "records-missing" not in [warning.name for warning in result.warnings]


def test_a_traces_lengths_are_asked_for(serve: Any, wire: Any, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n0.0,30,2\n0.5,40,7\n1.0,50,3\n9,1,1\n"
    )
    server = serve(wire.good)
    arrivals = {"kind": "trace", "rate": None, "trace": trace}
    out = tmp_path / "out"
    plan = plan_for(server.base_url, out, arrivals=arrivals, pinned_by="vllm", warmup_s=0.0)
    result = drive(plan)
    asked = [(a.body["max_tokens"], a.body["min_tokens"]) for a in server.asked]
    assert asked == [(2, 2), (7, 7), (3, 3)]
    assert [len(a.body["prompt"].split()) for a in server.asked] == [30, 40, 50]
    assert result.outcomes == {"ok": 3}
    assert [r["output_tokens"] for r in sorted(records_in(out), key=lambda r: r["user"])] == [
        2,
        7,
        3,
    ]


def test_a_lost_record_makes_the_run_invalid(
    serve: Any, wire: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken out of the spool behind the swarm's back: only the plan can know that it is missing."""
    monkeypatch.setattr(
        "quantswarm.bench.load.convert.captures",
        lambda path: (capture for capture in captures(path) if capture.user != 7),
    )
    result = drive(plan_for(serve(wire.good).base_url, tmp_path))
    assert result.invalid_reason is not None
    assert result.invalid_reason.startswith("1 of")
    assert "records-missing" in [warning.name for warning in result.warnings]


def test_a_plan_survives_its_file_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    plan = plan_for(
        "http://127.0.0.1:1/v1", tmp_path, arrivals={"kind": "gamma", "burstiness": 0.5}
    )
    assert loads(plan.dumps()) == plan
    nothing = plan_for("http://127.0.0.1:1/v1", tmp_path, arrivals={"rate": 1e-6})
    with pytest.raises(UserMistake, match="none of them"):
        drive(nothing)
    assert not (tmp_path / SCHEDULE).exists()


def test_client_delays_over_a_hundredth_of_ttft_are_warned_about(tmp_path: Path) -> None:
    from quantswarm.bench.load.warning import warnings_of

    plan = plan_for("http://127.0.0.1:1/v1", tmp_path)
    for late_ms, ttft_ms, expected in [(1.0, 200.0, []), (1.0, 50.0, ["late-starts"])]:
        harness = {"client_delay_p99_ms": late_ms, "ttft_p50_ms": ttft_ms}
        found = warnings_of(plan, harness, missing=0, interrupted=False)
        assert [warning.name for warning in found] == expected


def test_the_server_sees_arrivals_in_plan_order(serve: Any, wire: Any, tmp_path: Path) -> None:
    seen: list[tuple[int, str]] = []

    def answer(asked: Any, to: socket.socket) -> bool:
        seen.append((time.perf_counter_ns(), asked.body["prompt"].split()[0]))
        return bool(wire.good(asked, to))

    drive(plan_for(serve(answer).base_url, tmp_path, arrivals={"kind": "constant", "rate": 10.0}))
    by_plan = sorted(records_in(tmp_path), key=lambda record: record["intended_ns"])
    assert [uid for _, uid in sorted(seen)] == [record["id"] for record in by_plan]
