"""The whole path against real processes, without a model: the engine of known latency."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

MATRIX = """
name = "path"
model = "none"
scenario = "smoke"
users = [1, 3]
warmup_s = 0.3
duration_s = 2
[[variant]]
engine = "scripted"
quant = "none"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "quantswarm.bench.cli", *words]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "QUANTSWARM_HOME": str(home)}


def quantswarm(home: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        cwd=cwd,
        env=environment(home),
    )


def records_of(cell: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (cell / "records.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "path.toml").write_text(MATRIX)
    done = quantswarm(home, folder, "bench", "--matrix", "path.toml", "--out", "run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((folder / "run" / "summary.json").read_text())
    return folder / "run"


def test_every_cell_is_measured_and_every_output_written(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert summary["schema"] == 1
    assert [(cell["users"], cell["status"]) for cell in summary["cells"]] == [(1, "ok"), (3, "ok")]
    for name in ("report.html", "report.md", "results.csv", "results.parquet"):
        assert (run / name).stat().st_size > 0
    for cell in summary["cells"]:
        assert cell["failures"] == 0
        assert cell["requests"] > 0
        assert cell["weights_bytes"] is None
        assert cell["rss_peak_bytes"] > 1_000_000
        assert cell["output_throughput"] > 0


def test_a_server_is_weighed_once_and_phases_are_of_one_user_alone(run: Path) -> None:
    alone, beside = json.loads((run / "summary.json").read_text())["cells"]
    taken = alone["footprint"], beside["footprint"]
    for key in ("memory_after_load_bytes", "first_ready_s", "load_s"):
        assert taken[0][key] == taken[1][key] > 0
    for footprint, cell in zip(taken, (alone, beside), strict=True):
        assert footprint["memory_peak_bytes"] == cell["rss_peak_bytes"]
        assert footprint["first_ready_s"] <= footprint["load_s"] == cell["load_s"]
        assert footprint["weight_parts"] is None
    assert alone["phases"]["prefill_tok_s"] > 0
    assert beside["phases"] is None


def test_records_hold_the_exact_tokens_that_were_asked_for(run: Path) -> None:
    for cell in sorted((run / "cells").iterdir()):
        whole = [record for record in records_of(cell) if record["outcome"] == "ok"]
        assert whole
        for record in whole:
            asked = record["expected_output_tokens"]
            assert record["output_tokens"] == asked == sum(record["event_tokens"])
            assert record["sent_ns"] >= record["intended_ns"]
            assert record["event_ns"] == sorted(record["event_ns"])


def test_the_engines_own_count_agrees_with_the_clients(run: Path) -> None:
    for cell in json.loads((run / "summary.json").read_text())["cells"]:
        view = cell["engine_view"]
        assert view["server_tokens"] == view["client_tokens"] > 0
        assert view["prefix_hit_rate"] == 0
        assert view["running_peak"] <= cell["users"]
        assert view["gaps"] == 0 < view["scrapes"]


def test_three_users_emit_more_than_one(run: Path) -> None:
    one, three = json.loads((run / "summary.json").read_text())["cells"]
    assert three["output_throughput"] > 1.5 * one["output_throughput"]


def test_resume_measures_only_what_is_missing(run: Path, home: Path) -> None:
    kept = run / "cells" / "scripted-none-u1" / "records.jsonl"
    before = kept.stat().st_mtime_ns
    missing = run / "cells" / "scripted-none-u3" / "manifest.json"
    missing.unlink()
    words = ("bench", "--matrix", "path.toml", "--out", "run", "--resume")
    done = quantswarm(home, run.parent, *words)
    assert done.returncode == 0, done.stderr
    assert "1 of 2 cells to measure" in done.stderr
    assert missing.is_file()
    assert kept.stat().st_mtime_ns == before


ROUNDS = """
name = "rounds"
model = "none"
scenario = "smoke"
users = [2]
rates = [20]
warmup_s = 0.2
duration_s = 1
rounds = 2
[[variant]]
engine = "scripted"
quant = "none"
label = "quick"
options = { behaviour = "ttft=5ms,itl=2ms" }
[[variant]]
engine = "scripted"
quant = "none"
label = "slow"
options = { behaviour = "ttft=5ms,itl=4ms" }
"""


def test_rounds_share_a_plan_and_a_known_difference_is_found(home: Path, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(ROUNDS)
    done = quantswarm(home, tmp_path, "bench", "--matrix", "m.toml", "--out", "r", "--json")
    failed = {gate for cell in json.loads(done.stdout)["cells"] for gate in cell["failed_gates"]}
    assert failed <= {"schedule-kept"}, "which a busy host breaks, and which is not the point here"
    again = quantswarm(home, tmp_path, "report", "r", "--include-invalid", "--json")
    summary = json.loads(again.stdout)
    blocks = {(cell["label"], cell["round"]): cell["block"] for cell in summary["cells"]}
    assert blocks == {("quick", 1): 1, ("slow", 1): 2, ("slow", 2): 3, ("quick", 2): 4}
    plans = {
        (label, number): (
            tmp_path / f"r/cells/scripted-none-{label}-r20{again}/schedule.jsonl"
        ).read_text()
        for label in ("quick", "slow")
        for number, again in ((1, ""), (2, "-round2"))
    }
    assert plans["quick", 1] == plans["slow", 1] != plans["quick", 2] == plans["slow", 2]
    prompts = [
        record["id"] for cell in (tmp_path / "r/cells").iterdir() for record in records_of(cell)
    ]
    assert len(prompts) == len(set(prompts))
    found = {
        pair["load"]: pair
        for pair in summary["comparison"]["pairs"]
        if pair["metric"] == "tpot_p50_ms"
    }
    assert set(found) == {"2 users", "20 req/s, poisson"}
    assert all(pair["variant"] == "slow" for pair in found.values())
    assert all(1.5 < pair["ratio"] < 2.5 for pair in found.values())
    assert found["2 users"]["floor"]["kind"] == "repeats"


def test_a_second_measurement_is_refused_while_one_runs(home: Path, tmp_path: Path) -> None:
    lock = home / "measuring.lock"
    holder = subprocess.Popen(["flock", "--no-fork", str(lock), "sleep", "60"])
    try:
        until(
            lambda: subprocess.run(["flock", "-n", str(lock), "true"], check=False).returncode != 0
        )
        done = quantswarm(home, tmp_path, "swarm", "--engine", "scripted", "--duration", "1")
    finally:
        end_tree(holder)
    assert done.returncode == 1
    assert "measuring already" in done.stderr


def test_a_variant_that_cannot_run_is_a_failed_cell_and_the_rest_goes_on(
    home: Path, tmp_path: Path
) -> None:
    broken = '[[variant]]\nengine = "llamacpp"\nquant = "q8_0"\nmodel = "./corrupt.gguf"\n'
    (tmp_path / "corrupt.gguf").write_bytes(b"GGUF" + b"\x00" * 100)
    (tmp_path / "m.toml").write_text(MATRIX.replace("[1, 3]", "[1]") + broken)
    done = quantswarm(home, tmp_path, "bench", "--matrix", "m.toml", "--out", "r", "--json")
    assert done.returncode == 1, done.stderr
    cells = {cell["engine"]: cell for cell in json.loads(done.stdout)["cells"]}
    assert cells["scripted"]["status"] == "ok"
    assert cells["llamacpp"]["status"] == "failed"
    assert cells["llamacpp"]["reason"]
    assert cells["llamacpp"]["output_throughput"] is None
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("when", ["starting", "window"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_process_and_can_be_resumed(
    home: Path, tmp_path: Path, when: str, number: signal.Signals
) -> None:
    (tmp_path / "m.toml").write_text(MATRIX.replace("duration_s = 2", "duration_s = 60"))
    words = command("bench", "--matrix", "m.toml", "--out", "r")
    log = tmp_path / "log"
    with log.open("w") as sink:
        started = subprocess.Popen(words, cwd=tmp_path, env=environment(home), stderr=sink)
    tree: list[psutil.Process] = []
    try:
        until(lambda: when in log.read_text())
        tree = psutil.Process(started.pid).children(recursive=True)
        started.send_signal(number)
        assert started.wait(60) == 130
        until(lambda: not any(alive(process) for process in tree))
    finally:
        end_tree(started, tree)
    assert not (tmp_path / "r" / "summary.json").exists()
    manifest = tmp_path / "r" / "cells" / "scripted-none-u1" / "manifest.json"
    assert not manifest.exists() or json.loads(manifest.read_text())["status"] == "failed"


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.02)


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def end_tree(process: subprocess.Popen[Any], tree: list[psutil.Process] | None = None) -> None:
    process.kill()
    process.wait()
    for child in tree or []:
        if child.is_running():
            child.kill()


def test_a_data_set_from_the_command_line_to_the_report(home: Path, tmp_path: Path) -> None:
    lines = [{"prompt": f"word {'more ' * n}", "output_tokens": n + 2} for n in range(4)]
    (tmp_path / "asks.jsonl").write_text("\n".join(map(json.dumps, lines)))
    words = ("swarm", "--engine", "scripted", "--scenario", "smoke", "--data", "asks.jsonl")
    load = ("--users", "2", "--warmup", "0.2", "--duration", "1", "--out", "run", "--json")
    done = quantswarm(home, tmp_path, *words, *load)
    assert done.returncode == 0, done.stderr
    cell = json.loads(done.stdout)["cells"][0]
    assert cell["scenario"]["data"] == str(tmp_path / "asks.jsonl")
    assert (cell["prefix_hit_rate"], cell["prefix_hit_source"]) == (0, "engine's counters")
    records = records_of(tmp_path / "run" / "cells" / cell["cell"])
    for record in records:  # the id is a word too
        assert record["prompt_tokens"] == record["output_tokens"]
    assert {record["output_tokens"] for record in records} == {2, 3, 4, 5}
