"""What share of its ceiling a judged cell reached, the remarks, and what reports make of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from made_physics import physics
from made_run import Load, write_cell, write_run

from quantswarm.bench import report
from quantswarm.bench.judge.summary import summarise
from quantswarm.bench.physics.expected import Expected

LENGTHS = Expected(prompt_tokens=128, output_tokens=32)


def cell_of(tmp_path: Path, ceiling: Mapping[str, Any] | None, **load: Any) -> dict[str, Any]:
    run = write_run(tmp_path / "run")
    write_cell(run, "vllm", "bf16", Load(**load), ceiling=ceiling)
    (cell,) = summarise(run)["cells"]
    return dict(cell)


def names(cell: Mapping[str, Any]) -> set[str]:
    return {warning["name"] for warning in cell["warnings"]}


def test_alone_the_share_is_the_floor_over_the_time_a_token_took(tmp_path: Path) -> None:
    ceiling = physics().ceiling(1, LENGTHS)
    cell = cell_of(tmp_path, ceiling, itl_ms=20.0, ttft_ms=50.0)
    found = cell["ceiling"]
    floor_ms = 1e3 * (100e6 + (128 + 16) * 1000) / 10e9
    assert found["reached_streams"] == pytest.approx(1.0)
    assert found["reached_context_tokens"] == 144
    assert found["reached_step_floor_ms"] == pytest.approx(floor_ms)
    assert found["share_of_decode_ceiling"] == pytest.approx(floor_ms / 20.0, rel=1e-3)
    # 128 tokens need 12.8 GFLOP and a little: 11.7 ms, of the 49.9 ms from the actual start
    assert found["share_of_prefill_ceiling"] == pytest.approx(0.235, rel=0.05)
    assert found["decode_tok_s"] == ceiling["decode_tok_s"]
    assert not {"far-under-ceiling", "ceiling-exceeded"} & names(cell)


def test_several_streams_are_counted_while_they_are_decoded(tmp_path: Path) -> None:
    ceiling = physics().ceiling(8, LENGTHS)
    found = cell_of(tmp_path, ceiling, users=8, itl_ms=20.0, ttft_ms=200.0)["ceiling"]
    assert 5.5 < found["reached_streams"] < 7.5  # each is decoded 620 of 821 ms
    assert found["share_of_prefill_ceiling"] is None
    assert 0.5 < found["share_of_decode_ceiling"] < 0.6


@pytest.mark.parametrize(
    ("itl_ms", "expected"),
    [(100.0, {"far-under-ceiling"}), (30.0, set()), (9.0, {"ceiling-exceeded"})],
)
def test_remarks_on_what_is_far_off(tmp_path: Path, itl_ms: float, expected: set[str]) -> None:
    cell = cell_of(tmp_path, physics().ceiling(1, LENGTHS), itl_ms=itl_ms)
    assert names(cell) & {"far-under-ceiling", "ceiling-exceeded"} == expected


def test_the_likely_cause_of_a_small_model_is_another(tmp_path: Path) -> None:
    quick = physics(host=None)
    small = {**quick.ceiling(1, LENGTHS), "weights_bytes_per_token": 1e6}
    cell = cell_of(tmp_path, small, itl_ms=10.0)
    (remark,) = (w for w in cell["warnings"] if w["name"] == "far-under-ceiling")
    assert "the model is small" in remark["cause"]


def test_prompts_from_a_cache_are_held_to_no_ceiling(tmp_path: Path) -> None:
    ceiling = physics().ceiling(1, LENGTHS)
    found = cell_of(tmp_path, ceiling, changed={"cached_tokens": 64})["ceiling"]
    assert found["share_of_prefill_ceiling"] is None


def test_old_runs_and_unknown_hosts_have_no_share(tmp_path: Path) -> None:
    assert cell_of(tmp_path / "old", None)["ceiling"] is None
    unknown = physics(kv_bytes=None).ceiling(1, LENGTHS)
    found = cell_of(tmp_path / "unknown", unknown)["ceiling"]
    assert found["share_of_decode_ceiling"] is None
    assert found["weights_bytes_per_token"] == 100e6


def test_a_cell_that_failed_keeps_its_ceiling(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    ceiling = physics().ceiling(1, LENGTHS)
    write_cell(
        run, "vllm", "bf16", Load(), measured=False, status="failed", reason="x", ceiling=ceiling
    )
    (cell,) = summarise(run)["cells"]
    assert cell["ceiling"]["decode_tok_s"] == ceiling["decode_tok_s"]
    assert cell["ceiling"]["share_of_decode_ceiling"] is None


def test_reports_show_ceilings_and_shares(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for users in (1, 8):
        ceiling = physics().ceiling(users, LENGTHS)
        write_cell(run, "vllm", "bf16", Load(users=users, itl_ms=20.0), ceiling=ceiling)
    report.write_all(run)
    markdown, page = ((run / f"report.{kind}").read_text() for kind in ("md", "html"))
    assert "of ceiling (decode)" in markdown
    assert "### vllm-bf16: bytes of the weights" in markdown
    assert "| embeddings | bfloat16 | 10,000,000 | 0 | bfloat16 |" in markdown
    assert 'id="ceilings"' in page
    assert "50.1%" in page
    header, *rows = (run / "results.csv").read_text().splitlines()
    column = header.split(",").index("share_of_decode_ceiling")
    assert float(rows[0].split(",")[column]) == pytest.approx(0.5007, abs=0.0005)


def test_rounds_have_the_median_share(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for round_, itl in ((1, 20.0), (2, 25.0), (3, 40.0)):
        ceiling = physics().ceiling(1, LENGTHS)
        load = Load(itl_ms=itl)
        folder = write_cell(run, "vllm", "bf16", load, ceiling=ceiling, round=round_, block=round_)
        folder.rename(folder.with_name(f"{folder.name}-round{round_}"))
    from quantswarm.bench.report.ceiling import share
    from quantswarm.bench.report.grouped import rows_of

    (row,) = rows_of(summarise(run))
    assert share(row) == pytest.approx(0.4006, abs=0.0005)
