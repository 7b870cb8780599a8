"""A server that is stopped for six of ten seconds: an open loop shows it, a closed one hides it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.load.schedule import read_schedule
from quantswarm.bench.selftest.segment import Place, known_server

FROZEN_S, WINDOW_S, USERS, RATE = 6.0, 10.0, 4, 15
SWARM = [sys.executable, "-m", "quantswarm.bench.cli", "swarm"]


class Freezer:
    """Stops a process when told, and lets it go on after six seconds, whatever becomes of us."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._timer: threading.Timer | None = None

    def freeze(self) -> None:
        """Once; later calls do nothing."""
        if self._timer is None:
            os.kill(self._pid, signal.SIGSTOP)
            self._timer = threading.Timer(FROZEN_S, os.kill, (self._pid, signal.SIGCONT))
            self._timer.start()

    def join(self) -> None:
        """Until it goes on."""
        if self._timer is not None:
            self._timer.join()


def driven(folder: Path, load: list[str]) -> tuple[Path, list[float]]:
    """A swarm as users run it, its server frozen as soon as the window is announced; the cell's
    folder, and seconds from the intended start to the first token of each request of the window."""
    place = Place(folder=folder / "server", server_cores=(), client_cores=())
    out = folder / "run"
    where = ["--served-name", "scripted:ttft=20ms,itl=2ms", "--out", str(out)]
    times = ["--scenario", str(_scenario(folder)), "--warmup", "1", "--duration", str(WINDOW_S)]
    with known_server(place) as server:
        freezer = Freezer(server.pid)
        command = [*SWARM, "--url", server.base_url, *where, *times, *load]
        environment = os.environ | {"QUANTSWARM_HOME": str(folder / "home")}
        with subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as swarm:
            assert swarm.stderr is not None
            for told in swarm.stderr:
                if ": window" in told:
                    freezer.freeze()
        freezer.join()
    (cell,) = (out / "cells").iterdir()
    return cell, _waits_s(cell)


def _scenario(folder: Path) -> Path:
    path = folder / "short.toml"
    path.write_text('api = "completions"\nprompt_tokens = 32\noutput_tokens = 4\n')
    return path


def _records(cell: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (cell / "records.jsonl").read_text().splitlines()]


def _waits_s(cell: Path) -> list[float]:
    window = json.loads((cell / "manifest.json").read_text())["window"]
    return [
        (record["event_ns"][0] - record["intended_ns"]) / 1e9
        for record in _records(cell)
        if window["start_ns"] <= record["intended_ns"] < window["end_ns"]
    ]


def over_a_second(waits_s: list[float]) -> float:
    return sum(wait > 1.0 for wait in waits_s) / len(waits_s)


def test_an_open_loop_shows_a_freeze_in_most_samples(tmp_path: Path) -> None:
    cell, waits_s = driven(tmp_path, ["--rate", str(RATE), "--arrivals", "constant"])
    assert len(waits_s) == pytest.approx(RATE * WINDOW_S, abs=2)
    assert over_a_second(waits_s) > 0.4
    assert max(waits_s) == pytest.approx(FROZEN_S, abs=1.5)
    begin_ns = json.loads((cell / "manifest.json").read_text())["window"]["swarm_start_ns"]
    planned = {arrival.index: begin_ns + arrival.offset_ns for arrival in read_schedule(cell)}
    assert {record["user"]: record["intended_ns"] for record in _records(cell)} == planned


def test_a_closed_loop_hides_it_in_one_sample_a_user(tmp_path: Path) -> None:
    """Nobody asks while waiting: hundreds of good samples stand beside six seconds of nothing."""
    _, waits_s = driven(tmp_path, ["--users", str(USERS)])
    assert len(waits_s) > 100
    assert sum(wait > 1.0 for wait in waits_s) <= USERS
    assert over_a_second(waits_s) < 0.05
