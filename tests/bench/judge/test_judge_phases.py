"""Prefill and decode at one user: by the client, and by whichever clock the server has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import made_run
import pytest
from made_run import START, Load, S

from quantswarm.bench.judge.cell import judge
from quantswarm.bench.judge.summary import cell_as_json, summarise

ALONE = Load(users=1, ttft_ms=50.1, itl_ms=10.0, tokens=16, window_s=10)


def phases(tmp_path: Path, load: Load, lines: tuple[Any, ...] = (), **manifest: Any) -> Any:
    run = made_run.write_run(tmp_path / "run")
    folder = made_run.write_cell(run, "vllm", "fp32", load, **manifest)
    if lines:
        (folder / "engine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return cell_as_json(judge(folder))["phases"]


def test_rates_follow_from_times(tmp_path: Path) -> None:
    found = phases(tmp_path, ALONE)
    assert found["ttft_s"] == pytest.approx(0.05)
    assert found["prefill_tok_s"] == pytest.approx(128 / 0.05)
    assert found["tpot_s"] == pytest.approx(0.01)
    assert found["decode_tok_s"] == pytest.approx(100)
    assert (found["source"], found["server"]) == ("client", None)


def test_there_are_none_beside_others_or_by_a_schedule(tmp_path: Path) -> None:
    assert phases(tmp_path / "a", Load(users=2, window_s=10)) is None
    arrivals = {"kind": "poisson", "rate": 1.0}
    assert phases(tmp_path / "b", ALONE, arrivals=arrivals) is None


def test_a_prompt_from_the_cache_has_no_speed_of_prefill(tmp_path: Path) -> None:
    timings = {"prompt_ms": 40.0, "prompt_per_second": 1600.0, "predicted_per_second": 101.0}
    cached = Load(**{**vars(ALONE), "changed": {"cached_tokens": 64, "server_timings": timings}})
    found = phases(tmp_path, cached)
    assert found["prefill_tok_s"] is None
    assert found["decode_tok_s"] == pytest.approx(100)
    assert found["server"] == {
        "prefill_tok_s": 1600.0,
        "decode_tok_s": 101.0,
        "ttft_s": pytest.approx(0.04),
        "tpot_s": pytest.approx(1 / 101),
        "source": "timings in answers",
        "server": None,
    }


def test_histograms_stand_in_where_answers_hold_no_timings(tmp_path: Path) -> None:
    def scrape(second: int) -> dict[str, Any]:
        values = {
            "ttft": {"sum": second * 0.045 * 4, "count": second * 4, "buckets": []},
            "itl": {"sum": second * 0.009 * 60, "count": second * 60, "buckets": []},
        }
        return {"ns": START + second * S, "took_ns": 1, "values": values}

    found = phases(tmp_path, ALONE, tuple(scrape(second) for second in range(1, 16)))["server"]
    assert found["source"] == "server's histograms"
    assert found["ttft_s"] == pytest.approx(0.045)
    assert found["prefill_tok_s"] == pytest.approx(128 / 0.045)
    assert found["decode_tok_s"] == pytest.approx(1 / 0.009)


@pytest.mark.parametrize("stored", [None, "damaged", 3])
def test_an_older_runs_cells_have_no_footprint(tmp_path: Path, stored: Any) -> None:
    run = made_run.write_run(tmp_path / "run")
    made_run.write_cell(run, "vllm", "fp32", ALONE, footprint=stored)
    summary = summarise(run)
    assert summary["cells"][0]["footprint"] is None
    assert summary["baseline"] == "vllm-fp32"
