"""`serve` from start to end, with the engine of known latency: nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

Serve = Callable[..., "subprocess.Popen[bytes]"]
READY = "Ctrl-C stops it."


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.02)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts `quantswarm serve`; its output goes to `tmp_path/said`, temporary files to `tmp`."""
    started: list[tuple[subprocess.Popen[bytes], list[psutil.Process]]] = []
    (tmp_path / "tmp").mkdir()
    places = {"QUANTSWARM_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}

    def start(*words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "quantswarm.bench.cli", "serve", "--port", "0", *words]
        with (tmp_path / "said").open("w") as sink:
            process = subprocess.Popen(
                command, stdout=sink, stderr=sink, env={**os.environ, **places}, cwd=tmp_path
            )
        started.append((process, []))
        until(lambda: READY in said(tmp_path) or process.poll() is not None)
        if process.poll() is None:
            started[-1][1].extend(psutil.Process(process.pid).children(recursive=True))
        return process

    yield start
    for process, tree in started:
        process.kill()
        process.wait()
        for child in tree:
            if child.is_running():
                child.kill()


def said(folder: Path) -> str:
    return (folder / "said").read_text()


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_neither_process_nor_file(
    serve: Serve, tmp_path: Path, number: signal.Signals
) -> None:
    process = serve("--engine", "scripted")
    tree = psutil.Process(process.pid).children(recursive=True)
    assert tree
    assert list((tmp_path / "tmp").iterdir())
    process.send_signal(number)
    assert process.wait(60) == 130
    until(lambda: all(map(gone, tree)))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert "Traceback" not in said(tmp_path)


def test_killed_for_good_it_leaves_no_process(serve: Serve) -> None:
    process = serve("--engine", "scripted")
    tree = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    until(lambda: all(map(gone, tree)))


def test_a_server_that_dies_while_starting_is_shown_with_its_last_words(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho first\necho 'boom: cannot do it'\nexit 3\n")
    program.chmod(0o755)
    weights = tmp_path / "home"
    monkeypatch.setenv("LLAMA_SERVER_BIN", str(program))
    process = serve("--engine", "llamacpp", "--quant", "f16")
    assert process.wait(60) == 1
    assert "exit code 3" in said(tmp_path)
    assert "boom: cannot do it" in said(tmp_path)
    assert "Traceback" not in said(tmp_path)
    assert not list(weights.rglob("*.building-*"))
    assert [path.name for path in (tmp_path / "tmp").rglob("*.log")] == ["llamacpp.log"]
