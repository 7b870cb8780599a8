"""`quantswarm compare`: which runs may be compared, what is left out, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_run import HOST, Load, write_cell, write_run

from quantswarm.bench import cli
from quantswarm.bench.compare.runs import compare
from quantswarm.models.errors import UnknownName, UserMistake


def a_run(folder: Path, itl_ms: float, *, quant: str = "bf16", **facts: Any) -> Path:
    run = write_run(folder, run_id=folder.name, matrix=None)
    write_cell(run, "vllm", quant, Load(users=4, itl_ms=itl_ms, jitter=0.1), **facts)
    return run


def pair(found: dict[str, Any], metric: str) -> dict[str, Any]:
    (mine,) = (p for p in found["comparison"]["pairs"] if p["metric"] == metric)
    return dict(mine)


def test_variants_of_two_runs_meet_and_the_difference_is_found(tmp_path: Path) -> None:
    slow, fast = a_run(tmp_path / "slow", 11.0), a_run(tmp_path / "fast", 10.0, quant="fp8")
    found = compare([slow, fast])
    assert found["comparison"]["baseline"] == "vllm-bf16"
    tpot = pair(found, "tpot_p50_ms")
    assert (tpot["variant"], tpot["verdict"]) == ("vllm-fp8", "better")
    assert tpot["ratio"] == pytest.approx(10 / 11, rel=0.01)
    names = {remark["name"] for remark in found["comparison"]["remarks"]}
    assert {"not-interleaved", "one-round"} <= names


def test_a_variant_that_both_have_is_named_with_its_run(tmp_path: Path) -> None:
    before, after = a_run(tmp_path / "before", 10.0), a_run(tmp_path / "after", 10.0)
    found = compare([before, after], baseline="vllm-bf16@after")
    tpot = pair(found, "tpot_p50_ms")
    assert (tpot["variant"], tpot["baseline"]) == ("vllm-bf16@before", "vllm-bf16@after")
    assert tpot["verdict"] == "no difference"


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"scenario_hash": "0ther"}, "scenario"),
        ({"model": "large"}, "model"),
    ],
)
def test_runs_that_measured_something_else_are_refused(
    tmp_path: Path, facts: dict[str, Any], what: str
) -> None:
    runs = [a_run(tmp_path / "a", 10.0), a_run(tmp_path / "b", 10.0, quant="fp8", **facts)]
    with pytest.raises(UserMistake, match=f"differ in {what}"):
        compare(runs)
    found = compare(runs, anyway=True)
    assert found["differences"][0].startswith(what)
    assert found["comparison"]["pairs"]


def test_another_host_is_refused(tmp_path: Path) -> None:
    runs = [a_run(tmp_path / name, 10.0, quant=name) for name in ("bf16", "fp8")]
    write_run(tmp_path / "third", run_id="third", host=HOST | {"cpu": "Other 1"}, matrix=None)
    write_cell(tmp_path / "third", "vllm", "fp16", Load(users=4))
    with pytest.raises(UserMistake, match="differ in host"):
        compare([*runs, tmp_path / "third"])


def test_invalid_cells_are_left_out_and_said(tmp_path: Path) -> None:
    bad = {"status": "invalid", "reason": "the schedule was missed"}
    runs = [a_run(tmp_path / "a", 10.0), a_run(tmp_path / "b", 10.0, quant="fp8", **bad)]
    with pytest.raises(UserMistake, match="no other variant has a valid cell"):
        compare(runs)
    found = compare(runs, invalid=True)
    assert pair(found, "tpot_p50_ms")["variant"] == "vllm-fp8"
    write_cell(tmp_path / "a", "vllm", "fp16", Load(users=4))
    (left,) = compare(runs)["left_out"]
    assert left["cell"] == "vllm-fp8-u4"
    assert "schedule was missed" in left["reason"]


def test_unknown_names_have_near_misses(tmp_path: Path) -> None:
    run = a_run(tmp_path / "a", 10.0)
    with pytest.raises(UnknownName, match="Did you mean ttft_p50_ms"):
        compare([run], metrics=["ttft_p50"])
    with pytest.raises(UnknownName, match="Did you mean vllm-bf16"):
        compare([run], baseline="vllm-bf")


def test_the_command_prints_a_table_or_a_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(a_run(tmp_path / "a", 11.0)), str(a_run(tmp_path / "b", 10.0, quant="fp8"))]
    assert cli.main(["compare", *runs, "--metric", "tpot_p50_ms"]) == 0
    text = capsys.readouterr().out
    assert "TPOT p50 (ms)  vllm-fp8" in text
    assert "better" in text
    assert max(map(len, text.splitlines())) <= 120
    assert cli.main(["compare", *runs, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {
        *("runs", "differences", "left_out"),
        *("groups", "comparison", "decision", "constraints"),
    }
