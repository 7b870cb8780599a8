"""Reports of runs with rounds: one row a group, ratios, the noise floor, each round's values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_run import Load, write_cell, write_run

from quantswarm.bench import report
from quantswarm.bench.judge.summary import summarise
from quantswarm.bench.report.grouped import rows_of
from quantswarm.bench.report.markdown import as_markdown
from quantswarm.bench.report.page import as_page
from quantswarm.bench.report.terminal import table

SPEEDS = {"bf16": 10.0, "fp8": 10.0, "int8": 11.0}
MATRIX = {
    "name": "careful",
    "users": [4],
    "scenario": "default",
    "seed": 0,
    "rounds": 4,
    "baseline": "vllm-bf16",
    "variants": [{"engine": "vllm", "quant": quant} for quant in SPEEDS],
}


def write_rounds(folder: Path, rounds: int = 4, **matrix: Any) -> Path:
    """bf16 and fp8 are equal but for a little noise by round; int8 has a tenth more ITL."""
    run = write_run(folder, matrix=MATRIX | {"rounds": rounds} | matrix)
    for number in range(rounds, 0, -1):  # the first round last: it keeps the plain folder names
        for place, (quant, itl_ms) in enumerate(SPEEDS.items()):
            noise = 1 + 0.004 * ((number * 3 + place * 2) % 5 - 2) / 2
            load = Load(users=4, itl_ms=itl_ms * noise, jitter=0.05)
            cell = write_cell(run, "vllm", quant, load, variant=f"vllm-{quant}", round=number)
            if number > 1:
                cell.rename(cell.with_name(f"{cell.name}-round{number}"))
    return run


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return summarise(write_rounds(tmp_path_factory.mktemp("runs") / "careful"))


def test_groups_and_comparison_are_in_the_summary(careful: dict[str, Any]) -> None:
    assert [group["variant"] for group in careful["groups"]] == [
        "vllm-bf16",
        "vllm-fp8",
        "vllm-int8",
    ]
    assert [group["rounds"] for group in careful["groups"]] == [[1, 2, 3, 4]] * 3
    found = careful["comparison"]
    assert (found["baseline"], found["rounds"]) == ("vllm-bf16", 4)
    verdicts = {
        pair["variant"]: pair["verdict"]
        for pair in found["pairs"]
        if pair["metric"] == "tpot_p50_ms"
    }
    assert verdicts == {"vllm-fp8": "no difference", "vllm-int8": "worse"}
    assert {(floor["kind"], floor["pairs"]) for floor in found["floors"]} == {("repeats", 18)}


def test_the_answer_names_equals_as_equals(careful: dict[str, Any]) -> None:
    (answer,) = careful["answers"]
    assert len(answer["tied"]) == 1
    assert {answer["best"], *answer["tied"]} == {"vllm-bf16-u4", "vllm-fp8-u4"}
    assert "no difference between" in answer["sentence"]
    assert "noise floor" in answer["sentence"]
    assert "int8" not in answer["sentence"]


def test_the_main_table_has_one_row_a_group(careful: dict[str, Any]) -> None:
    rows = rows_of(careful)
    assert [len(row["members"]) for row in rows] == [4, 4, 4]
    lines = table(careful).splitlines()
    assert max(map(len, lines)) <= 120
    int8 = next(line for line in lines if " int8 " in line)
    assert "worse" in int8
    assert any("no difference" in line for line in lines if " fp8 " in line)
    assert any(line.startswith("4 rounds; ratios are to vllm-bf16") for line in lines)


def test_markdown_and_page_show_ratios_floor_and_rounds(careful: dict[str, Any]) -> None:
    for text in (as_markdown(careful), as_page(careful)):
        for part in ("Ratios to vllm-bf16", "Each round", "18 A/A pairs", "no difference"):
            assert part in text
        assert "One run, no interval" not in text


def test_a_lost_round_is_said_and_the_rest_is_paired(tmp_path: Path) -> None:
    run = write_rounds(tmp_path / "r")
    manifest = run / "cells" / "vllm-int8-u4-round3" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"status": "invalid"}))
    summary = summarise(run)
    row = next(row for row in rows_of(summary) if row["quant"] == "int8")
    assert (row["rounds"], row["rounds_asked"]) == (3, 4)
    assert "| 3 of 4 |" in as_markdown(summary)
    names = {remark["name"] for remark in summary["comparison"]["remarks"]}
    assert names == {"missing-rounds"}


def test_a_cell_of_a_round_that_lost_its_manifest_is_not_forgotten(tmp_path: Path) -> None:
    run = write_rounds(tmp_path / "r", rounds=2)
    (run / "cells" / "vllm-int8-u4-round2" / "manifest.json").write_text("{")
    (run / "cells" / "vllm-fp8-r2.5").mkdir()
    cells = {cell["cell"]: cell for cell in summarise(run)["cells"]}
    lost = cells["vllm-int8-u4-round2"]
    assert (lost["status"], lost["quant"], lost["round"]) == ("invalid", "int8", 2)
    assert (cells["vllm-fp8-r2.5"]["status"], cells["vllm-fp8-r2.5"]["users"]) == ("invalid", 0)


def test_one_round_with_a_baseline_has_ratios_and_says_what_they_lack(tmp_path: Path) -> None:
    run = write_rounds(tmp_path / "r", rounds=1)
    summary = summarise(run)
    names = {remark["name"] for remark in summary["comparison"]["remarks"]}
    assert names == {"one-round"}
    assert {floor["kind"] for floor in summary["comparison"]["floors"]} == {"halves"}
    assert "halves of a window" in as_markdown(summary)
    report.write_all(run)


def test_one_round_without_a_baseline_is_reported_as_ever(tmp_path: Path) -> None:
    summary = summarise(write_rounds(tmp_path / "r", rounds=1, baseline=None))
    assert summary["comparison"] is None
    assert "One run, no interval" in as_markdown(summary)
    assert "ratio" not in table(summary).splitlines()[0]
