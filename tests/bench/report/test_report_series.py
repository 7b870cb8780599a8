"""Samples and scrapes of all cells in one Parquet file each."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import made_run
import pyarrow.parquet as pq

from quantswarm.bench.report import series
from quantswarm.bench.report.flat import fields
from quantswarm.bench.report.series import write_series

TTFT = {"sum": 0.5, "count": 2, "buckets": [[0.1, 1], [None, 2]]}


def test_rows_of_all_cells_with_their_types(tmp_path: Path) -> None:
    lines = {
        "a-q-u1": [{"ns": 5, "took_ns": 2, "values": {"running": 1, "ttft": TTFT}}],
        "b-q-u1": [{"ns": 7, "took_ns": 3, "gap": "TimeoutError: timed out"}],
    }
    for cell, objects in lines.items():
        folder = tmp_path / "cells" / cell
        folder.mkdir(parents=True)
        text = "".join(json.dumps(line) + "\n" for line in objects)
        (folder / "engine.jsonl").write_text(text + '{"ns": 9, "cut o')
    (path,) = write_series(tmp_path)
    assert path.name == "engine.parquet"
    first, second = pq.read_table(path).to_pylist()
    assert (first["cell"], first["ns"], first["running"], first["gap"]) == ("a-q-u1", 5, 1.0, None)
    assert (first["ttft_sum"], first["ttft_count"], first["itl_sum"]) == (0.5, 2.0, None)
    assert first["ttft_le"] == [0.1, math.inf]
    assert first["ttft_cumulative"] == [1.0, 2.0]
    assert first["itl_le"] is first["t_s"] is None
    assert (second["running"], second["gap"]) == (None, "TimeoutError: timed out")
    assert str(pq.read_schema(path).field("waiting").type) == "double"


def test_memory_and_processor_time(tmp_path: Path) -> None:
    folder = tmp_path / "cells" / "a-q-u1"
    folder.mkdir(parents=True)
    sample = {"ns": 1, "cpu_s": 2, "rss_bytes": 3, "pss_bytes": None, "processes": 1}
    (folder / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    (path,) = write_series(tmp_path)
    (row,) = pq.read_table(path).to_pylist()
    assert {key: row.pop(key) for key in sample} == sample
    assert row.pop("cell") == "a-q-u1"
    assert set(row.values()) == {None}


def test_cores_and_gpus_have_a_row_each_on_the_clock_of_the_window(tmp_path: Path) -> None:
    run = made_run.write_run(tmp_path / "run")
    load = made_run.Load(users=1)
    folder = made_run.write_cell(run, "vllm", "fp32", load)
    gpu = {"gpu": 1, "power_w": 300, "throttle": ["sw_power_cap", "hw_thermal"], "sm_mhz": None}
    cores = [{"core": core, "busy_s": 2.5, "steal_s": 0} for core in (0, 1)]
    ns = load.window()["start_ns"] + 1_500_000_000
    sample = {"ns": ns, "cpu_s": 1, "processes": 1, "cores": cores, "gpus": [gpu]}
    (folder / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    found = {path.stem: pq.read_table(path).to_pylist() for path in write_series(run)}
    assert list(found) == ["samples", "cores", "gpus"]
    assert [row["t_s"] for rows in found.values() for row in rows] == [1.5] * 4
    assert [(row["core"], row["busy_s"]) for row in found["cores"]] == [(0, 2.5), (1, 2.5)]
    (row,) = found["gpus"]
    assert (row["gpu"], row["power_w"], row["throttle"]) == (1, 300.0, "sw_power_cap;hw_thermal")
    assert row["sm_mhz"] is None


def test_every_column_is_documented_with_unit_and_source() -> None:
    page = (Path(__file__).parents[3] / "docs" / "telemetry.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    watched = [name for name in fields() if name.startswith(("engine_", "gpu_", "server_cpu"))]
    columns = {*series.COLUMNS["samples"], *series.COLUMNS["cores"], *series.COLUMNS["gpus"]}
    assert not ({*columns, *watched} | {*series.COLUMNS["engine"]}) - named


def test_a_run_without_samples_gets_no_file(tmp_path: Path) -> None:
    assert write_series(tmp_path) == []
