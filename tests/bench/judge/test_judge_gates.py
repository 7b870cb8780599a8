"""Each gate on made-up runs: failed alone where it must, passed beside it, else unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_run import START, Load, record, write_cell, write_run

from quantswarm.bench.judge.cell import CellResult, judge
from quantswarm.bench.judge.gates import GATES
from quantswarm.bench.judge.summary import cell_as_json, summarise

OPEN = {"kind": "poisson", "rate": 40.0}
SOUND: dict[str, Any] = {
    "requests_started": len(Load().records()),
    "records_missing": 0,
    "users_seen": [1],
    "cpu_share": 0.1,
    "loop_busy_share": 0.1,
    "own_lag_p99_ms": 0.4,
}
TWICE = [one | {"event_tokens": [2] * len(one["event_ns"])} for one in Load().records()]
"""Answers whose usage says half of what their events hold."""
NAMES = [gate.name for gate in GATES]


def judged(folder: Path, load: Load | None = None, **more: Any) -> CellResult:
    run = write_run(folder / "run")
    facts = {"harness": SOUND, "server_alive": True, **more}
    return judge(write_cell(run, "vllm", "fp32", load or Load(), **facts))


def harness(**more: Any) -> dict[str, Any]:
    return {"harness": SOUND | more}


def broken(result: CellResult) -> list[str]:
    return [gate.name for gate in result.gates if gate.passed is False]


def unknown(result: CellResult) -> set[str]:
    return {gate.name for gate in result.gates if gate.passed is None}


def test_a_sound_cell_passes_all_that_apply(tmp_path: Path) -> None:
    result = judged(tmp_path)
    assert (result.status, broken(result)) == ("ok", [])
    assert unknown(result) == {"server-alone", "schedule-kept", "kept-up"}
    assert [gate.name for gate in result.gates] == NAMES


@pytest.mark.parametrize(
    ("name", "load", "facts"),
    [
        ("records-complete", None, harness(requests_started=SOUND["requests_started"] + 3)),
        ("records-complete", None, harness(records_missing=1)),
        ("server-alive", None, {"server_alive": False}),
        ("schedule-kept", None, harness(dispatch_delay_p99_ms=2.1) | {"arrivals": OPEN}),
        ("users-as-planned", None, harness(users_seen=[1, 2])),
        ("generator-not-saturated", None, harness(cpu_share=0.93)),
        ("generator-not-saturated", None, harness(loop_busy_share=0.93, cpu_share=0.5)),
        ("own-lag", None, harness(own_lag_p99_ms=5.1)),
        ("token-counts", None, {"records": TWICE}),
        ("prompts-not-cached", Load(changed={"cached_tokens": 64}), {}),
    ],
)
def test_each_gate_alone_makes_a_cell_invalid(
    tmp_path: Path, name: str, load: Load | None, facts: dict[str, Any]
) -> None:
    result = judged(tmp_path, load, **facts)
    assert (result.status, broken(result)) == ("invalid", [name])
    gate = next(gate for gate in result.gates if gate.name == name)
    assert gate.said
    assert gate.said in (result.reason or "")
    assert gate.value is not None
    assert gate.limit is not None
    assert gate.value > gate.limit
    assert broken(judged(tmp_path / "sound")) == []


def test_a_window_without_a_request_fails_that_gate(tmp_path: Path) -> None:
    result = judged(tmp_path, records=[record(1, START)], **harness(requests_started=1))
    assert (result.status, broken(result)) == ("invalid", ["requests-begun"])


def test_facts_that_older_runs_lack_are_not_held_against_them(tmp_path: Path) -> None:
    result = judged(tmp_path, harness={}, server_alive=None)
    assert (result.status, broken(result)) == ("ok", [])
    assert {"records-complete", "generator-not-saturated", "own-lag"} <= unknown(result)


@pytest.mark.parametrize(
    "scenario",
    [
        {"shared_prefix_tokens": 64},
        {"turns": 4},
        {"mix": [{"prompt_tokens": 8}, {"shared_prefix_tokens": 64}]},
    ],
)
def test_a_cache_hit_is_no_fault_where_it_is_the_subject(
    tmp_path: Path, scenario: dict[str, Any]
) -> None:
    result = judged(tmp_path, Load(changed={"cached_tokens": 64}), scenario=scenario)
    assert "prompts-not-cached" in unknown(result)
    assert result.status == "ok"


def test_several_gates_are_all_named(tmp_path: Path) -> None:
    result = judged(tmp_path, **harness(own_lag_p99_ms=9.0, cpu_share=0.97))
    assert broken(result) == ["generator-not-saturated", "own-lag"]
    assert "saturated" in (result.reason or "")
    assert "own work" in (result.reason or "")


def test_what_measuring_said_stands_and_the_gates_are_shown_beside_it(tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "status": "failed",
        "reason": "the server died",
        "server_alive": False,
    }
    result = judged(tmp_path, **facts)
    assert (result.status, result.reason) == ("failed", "the server died")
    assert broken(result) == ["server-alive"]


def test_a_cell_that_was_not_measured_has_no_gates(tmp_path: Path) -> None:
    assert judged(tmp_path, measured=False, status="failed", reason="no memory").gates == ()


def test_stolen_time_and_late_stamps_are_warnings(tmp_path: Path) -> None:
    result = judged(tmp_path, **harness(steal_share=0.03, stamp_lag_p99_ms=40.0))
    names = [warning["name"] for warning in result.warnings]
    assert {"stolen-processor", "client-could-not-keep-up"} <= set(names)
    assert result.status == "ok"
    quiet = judged(tmp_path / "quiet", **harness(steal_share=0.01, stamp_lag_p99_ms=1.0))
    assert not {"stolen-processor", "client-could-not-keep-up"} & {
        warning["name"] for warning in quiet.warnings
    }


def test_every_gate_is_in_the_summary_with_value_and_limit(tmp_path: Path) -> None:
    cell = cell_as_json(judged(tmp_path, **harness(own_lag_p99_ms=9.0)))
    assert cell["failed_gates"] == ["own-lag"]
    assert not cell["compared"]
    told = next(gate for gate in cell["gates"] if gate["name"] == "own-lag")
    assert (told["passed"], told["value"], told["limit"]) == (False, 9.0, 5.0)
    assert {key for gate in cell["gates"] for key in gate} == {
        *("name", "passed", "value", "limit", "unit", "said")
    }


def test_an_invalid_cell_is_compared_only_when_asked_for(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    write_cell(run, "vllm", "fp32", Load())
    write_cell(run, "vllm", "int8", Load(itl_ms=2), **harness(own_lag_p99_ms=9.0))
    write_cell(run, "vllm", "int4", Load(), measured=False, status="failed")
    plain, all_in = summarise(run), summarise(run, include_invalid=True)
    assert plain["answers"][0]["best"] == "vllm-fp32-u1"
    assert all_in["answers"][0]["best"] == "vllm-int8-u1"
    assert all_in["answers"][0]["left_out"] == ["vllm-int4-u1"]
    assert [cell["status"] for cell in all_in["cells"]] == [c["status"] for c in plain["cells"]]
