"""The engine's own view, from scrapes with a known truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import made_run
import pytest
from made_run import MS, START, Load, S

from quantswarm.bench.judge.cell import CellResult, judge
from quantswarm.bench.judge.engine_view import read_scrapes
from quantswarm.bench.judge.summary import cell_as_json

LOAD = Load(users=2, window_s=10, warmup_s=3, tokens=16)


def tokens_until(ns: int, records: list[dict[str, Any]]) -> int:
    return sum(stamp <= ns for record in records for stamp in record["event_ns"])


def scrapes(**changed: Any) -> list[dict[str, Any]]:
    """Once a second, half a second off, from before the first request until after the last."""
    records = LOAD.records()
    made = []
    for second in range(-1, 17):
        ns = START + second * S + S // 2
        tokens = tokens_until(ns, records)
        values = {
            "running": 2 if 3 <= second < 13 else 0,
            "waiting": 9 if second == 1 else 1,
            "kv_cache_use": 0.01 * (second + 1),
            "generation_tokens": 1 + tokens,
            "prompt_tokens": 100 * (second + 1),
            "prefix_queries": 1_000 + 100 * (second + 1),
            "prefix_hits": 10 * (second + 1),
            "preemptions": max(0, second - 11),
            "itl": {"sum": tokens * 0.01, "count": tokens, "buckets": []},
        }
        made.append({"ns": ns, "took_ns": MS, "values": values | changed})
    return made


def judged(tmp_path: Path, lines: list[dict[str, Any]] | None, load: Load = LOAD) -> CellResult:
    folder = made_run.write_cell(made_run.write_run(tmp_path / "run"), "vllm", "fp32", load)
    if lines is not None:
        (folder / "engine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return judge(folder)


def warned(result: CellResult) -> set[str]:
    return {warning["name"] for warning in result.warnings}


def test_peaks_shares_and_counters_of_the_window(tmp_path: Path) -> None:
    result = judged(tmp_path, scrapes())
    view = result.engine
    assert view is not None
    assert (view.scrapes, view.gaps) == (10, 0)
    assert (view.running_peak, view.waiting_peak) == (2, 1)
    assert view.kv_cache_peak == pytest.approx(0.13)
    assert view.prefix_hit_rate == pytest.approx(0.1)
    assert view.preemptions == 2
    assert view.itl_mean_ms == pytest.approx(10)
    assert view.ttft_mean_ms is None
    assert "server-counts-otherwise" not in warned(result)


def test_tokens_are_compared_over_all_requests(tmp_path: Path) -> None:
    view = judged(tmp_path, scrapes()).engine
    assert view is not None
    assert view.client_tokens == sum(len(record["event_ns"]) for record in LOAD.records())
    assert view.server_tokens == view.client_tokens
    assert view.token_difference == 0


@pytest.mark.parametrize(
    ("factor", "warns"), [(0.9, True), (0.99, False), (1.01, False), (1.1, True)]
)
def test_counts_that_differ_by_more_than_2_per_cent_are_named(
    tmp_path: Path, factor: float, warns: bool
) -> None:
    lines = scrapes()
    for line in lines:
        line["values"]["generation_tokens"] *= factor
    result = judged(tmp_path, lines)
    assert result.engine is not None
    assert result.engine.token_difference == pytest.approx(factor - 1, abs=0.002)
    assert ("server-counts-otherwise" in warned(result)) == warns


def test_tokens_owed_to_failed_requests_explain_a_server_that_counts_more(tmp_path: Path) -> None:
    load = Load(**{**vars(LOAD), "fails": lambda number: "reset" if number % 2 else None})
    records = load.records()
    for record in records:
        record["expected_output_tokens"] = 16
    folder = made_run.write_cell(
        made_run.write_run(tmp_path / "run"), "vllm", "fp32", load, records=records
    )
    whole = 16 * len(records)
    lines = [
        {"ns": START - S, "values": {"generation_tokens": 0}},
        {"ns": START + 20 * S, "values": {"generation_tokens": whole}},
    ]
    (folder / "engine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = judge(folder)
    assert result.engine is not None
    assert result.engine.server_tokens == whole > 1.5 * result.engine.client_tokens
    assert "server-counts-otherwise" not in warned(result)


def test_an_older_run_has_no_such_view(tmp_path: Path) -> None:
    result = judged(tmp_path, None)
    assert result.engine is None
    cell = cell_as_json(result)
    assert cell["engine_view"] is None
    assert (cell["prefix_hit_rate"], cell["prefix_hit_source"]) == (0.0, "answers")


def test_nothing_but_gaps_is_no_view(tmp_path: Path) -> None:
    assert judged(tmp_path, [{"ns": START, "took_ns": 1, "gap": "TimeoutError: "}]).engine is None


def test_gaps_in_the_window_are_counted(tmp_path: Path) -> None:
    lines = scrapes()
    lines[7] = {"ns": lines[7]["ns"], "took_ns": 3 * S, "gap": "TimeoutError: timed out"}
    view = judged(tmp_path, lines).engine
    assert view is not None
    assert (view.scrapes, view.gaps) == (9, 1)


def test_a_server_without_counters_says_nothing(tmp_path: Path) -> None:
    lines = [line | {"values": {"running": 1}} for line in scrapes()]
    view = judged(tmp_path, lines).engine
    assert view is not None
    assert view.running_peak == 1
    assert view.server_tokens is view.token_difference is view.unexplained_tokens is None
    assert view.prefix_hit_rate is view.kv_cache_peak is view.preemptions is None


def test_a_counter_that_fell_is_unknown(tmp_path: Path) -> None:
    lines = scrapes()
    lines[-1]["values"]["generation_tokens"] = 0
    view = judged(tmp_path, [lines[0], lines[-1]]).engine
    assert view is not None
    assert view.server_tokens is None


@pytest.mark.parametrize(
    ("changed", "rate"),
    [
        ({"prefix_queries": 0, "prefix_hits": 0}, 0.0),
        ({"prefix_queries": 0, "prefix_hits": 0, "prompt_tokens": 7}, None),
        ({"prefix_hits": None}, None),
    ],
)
def test_a_cache_that_is_off_has_a_rate_of_nought_where_prompts_were_counted(
    tmp_path: Path, changed: dict[str, Any], rate: float | None
) -> None:
    view = judged(tmp_path, scrapes(**changed)).engine
    assert view is not None
    assert view.prefix_hit_rate == rate


def test_hits_beside_computed_tokens_make_a_rate(tmp_path: Path) -> None:
    lines = scrapes()
    for number, line in enumerate(lines):
        line["values"] = {"computed_prompt_tokens": 30 * number, "prefix_hits": 10 * number}
    view = judged(tmp_path, lines).engine
    assert view is not None
    assert view.prefix_hit_rate == pytest.approx(0.25)


def test_lines_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "engine.jsonl"
    path.write_text('{"ns": 1, "values": {}}\n[]\nnot json\n{"ns": "x"}\n{"ns": 0, "ga')
    found = read_scrapes(path)
    assert found is not None
    assert [scrape.ns for scrape in found] == [1]
