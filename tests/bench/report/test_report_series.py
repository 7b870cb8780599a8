"""Samples and scrapes of all cells in one Parquet file each."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from quantswarm.bench.report.series import write_series


def test_rows_of_all_cells_with_their_types(tmp_path: Path) -> None:
    lines = {
        "a-q-u1": [
            {"ns": 5, "took_ns": 2, "values": {"running": 1, "ttft": {"sum": 0.5, "count": 2}}}
        ],
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
    assert (second["running"], second["gap"]) == (None, "TimeoutError: timed out")
    assert str(pq.read_schema(path).field("waiting").type) == "double"


def test_memory_and_processor_time(tmp_path: Path) -> None:
    folder = tmp_path / "cells" / "a-q-u1"
    folder.mkdir(parents=True)
    sample = {"ns": 1, "cpu_s": 2, "rss_bytes": 3, "pss_bytes": None, "processes": 1}
    (folder / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    (path,) = write_series(tmp_path)
    assert pq.read_table(path).to_pylist() == [{"cell": "a-q-u1", "gpu_bytes": None, **sample}]


def test_a_run_without_samples_gets_no_file(tmp_path: Path) -> None:
    assert write_series(tmp_path) == []
