"""The server's latencies beside the client's: agreement is silent, a real difference is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import made_run
import pytest
from made_run import START, Load, S

from quantswarm.bench.judge.cell import CellResult, judge
from quantswarm.bench.judge.summary import cell_as_json

EDGES = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.25, 1.0)
LOAD = Load(users=4, ttft_ms=50, itl_ms=10, tokens=16, jitter=0.2, warmup_s=3, window_s=20)


def histogram(values: list[float]) -> dict[str, Any]:
    edges: tuple[float | None, ...] = (*EDGES, None)
    cumulative = [
        [e, float(len(values) if e is None else sum(v <= e for v in values))] for e in edges
    ]
    return {"sum": sum(values), "count": len(values), "buckets": cumulative}


def scrapes(*, ttft_off_ms: float = 0.0, itl_off_ms: float = 0.0) -> list[dict[str, Any]]:
    """What a server would count whose times are the client's less the network, shifted."""
    records = LOAD.records()
    made = []
    for second in range(-1, 26):
        ns = START + second * S
        firsts = [r for r in records if r["event_ns"][0] <= ns]
        ttft = [(r["event_ns"][0] - r["sent_ns"]) / 1e9 + ttft_off_ms / 1e3 for r in firsts]
        itl = [
            (b - a) / 1e9 + itl_off_ms / 1e3
            for r in records
            for a, b in zip(r["event_ns"], r["event_ns"][1:], strict=False)
            if b <= ns
        ]
        values = {"ttft": histogram(ttft), "itl": histogram(itl), "running": 4}
        made.append({"ns": ns, "took_ns": 1, "values": values})
    return made


def judged(tmp_path: Path, lines: list[dict[str, Any]], **manifest: Any) -> CellResult:
    run = made_run.write_run(tmp_path / "run")
    folder = made_run.write_cell(run, "vllm", "fp32", LOAD, **manifest)
    (folder / "engine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return judge(folder)


def told(result: CellResult) -> list[str]:
    found = [w["seen"] for w in result.warnings if w["name"] == "server-times-otherwise"]
    return found[0].split("; ") if found else []


def test_the_same_times_on_both_sides_are_no_news(tmp_path: Path) -> None:
    result = judged(tmp_path, scrapes())
    assert told(result) == []
    view = cell_as_json(result)["engine_view"]
    client = result.latencies["ttft_sent"]
    low, high = view["ttft"]["p50_bucket_ms"]
    assert client.quantiles["p50"] is not None
    assert low <= client.quantiles["p50"] <= high
    assert low <= view["ttft"]["p50_ms"] <= high
    assert view["ttft"]["mean_ms"] == pytest.approx(client.mean, rel=0.05)
    assert view["itl"]["mean_ms"] == view["itl_mean_ms"]
    assert json.loads(json.dumps(view)) == view


def test_a_client_that_waits_longer_than_the_server_knows_is_named(tmp_path: Path) -> None:
    seen = told(judged(tmp_path, scrapes(ttft_off_ms=-35)))
    assert seen[0].startswith("TTFT p50: ")
    assert "the server's histogram says 10 to 20 ms" in seen[0]


def test_a_server_that_is_slower_than_its_client_saw_is_named(tmp_path: Path) -> None:
    seen = told(judged(tmp_path, scrapes(itl_off_ms=+60)))
    assert any(words.startswith("ITL p50") for words in seen)


def test_a_difference_inside_the_bucket_cannot_be_told(tmp_path: Path) -> None:
    assert told(judged(tmp_path, scrapes(ttft_off_ms=-4))) == []


def test_the_clients_own_lateness_is_allowed(tmp_path: Path) -> None:
    lines = scrapes(ttft_off_ms=-35)
    assert told(judged(tmp_path / "a", lines))
    assert told(judged(tmp_path / "b", lines, harness={"loop_lag_p99_ms": 40.0})) == []


def test_means_over_the_scrapes_and_time_in_the_queue(tmp_path: Path) -> None:
    lines = scrapes()
    for number, line in enumerate(lines):
        line["values"] |= {
            "waiting": number % 2,
            "kv_cache_use": 0.5,
            "queue_time": {"sum": 0.01 * number, "count": number, "buckets": []},
        }
    view = judged(tmp_path, lines).engine
    assert view is not None
    assert view.waiting_mean == pytest.approx(0.5, abs=0.06)
    assert (view.running_mean, view.kv_cache_mean) == (4, 0.5)
    assert view.queue_mean_ms == pytest.approx(10)


def test_a_server_with_sums_alone_still_tells_its_time_a_token(tmp_path: Path) -> None:
    lines = scrapes()
    for number, line in enumerate(lines):
        line["values"] = {"generation_tokens": 100 * number, "generation_seconds": 0.5 * number}
    view = judged(tmp_path, lines).engine
    assert view is not None
    assert view.itl_mean_ms == pytest.approx(5)
    assert view.itl is view.ttft is None
