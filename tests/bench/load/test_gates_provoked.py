"""Each validity gate provoked in a real run, from the swarm to the judge: it fails, and no other.

Gates that watch the generator may fail beside it, where a busy host keeps the generator waiting.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.cell import measure, plan_for
from quantswarm.bench.judge.cell import CellResult, judge
from quantswarm.bench.load import crew
from quantswarm.bench.load.arrivals import Arrivals
from quantswarm.bench.load.progress import Progress
from quantswarm.bench.load.spool import captures
from quantswarm.bench.selftest.segment import Place, known_server, scenario_of, subject_of
from quantswarm.bench.subject import external
from quantswarm.engines.server import Server
from quantswarm.models.errors import ServerDied

PACED = "ttft=20ms,itl=2ms"
TOKENS = 8


class Bench:
    """Runs one cell against a fresh server of known latency, and judges it."""

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder=folder / "cell", server_cores=(), client_cores=())
        self.server: Server

    def cell(
        self,
        behaviour: str = PACED,
        on_progress: Callable[[Progress], None] = lambda _: None,
        **load: Any,
    ) -> CellResult:
        with known_server(self.place) as self.server:
            subject = subject_of(self.server, behaviour, self.place)
            measure(subject, plan_for(subject, **self.load(**load)), on_progress)
        return judge(self.place.folder)

    def load(self, **changed: Any) -> dict[str, Any]:
        return {
            "scenario": scenario_of("provoked", TOKENS),
            "users": 2,
            "out_dir": self.place.folder,
            "cell": "provoked",
            "warmup_s": 0.3,
            "duration_s": 1.5,
            "drain_s": 5.0,
        } | changed


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def broken(result: CellResult) -> list[str]:
    return [gate.name for gate in result.gates if gate.passed is False]


GENERATOR = {"schedule-kept", "own-lag", "generator-not-saturated"}


def without_host(result: CellResult) -> list[str]:
    """The broken gates that say nothing about the generator's own time."""
    return [name for name in broken(result) if name not in GENERATOR]


def only(name: str, result: CellResult) -> bool:
    """The run is invalid for this one, whatever else a busy host did to the generator."""
    return result.status == "invalid" and {name} <= set(broken(result)) <= {name} | GENERATOR


def open_loop(rate: float = 40.0) -> dict[str, Any]:
    return {"users": 0, "arrivals": Arrivals(kind="constant", rate=rate)}


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Lets the swarm's own loop work for so long, wait for so long, and again (milliseconds)."""

    def between(work_ms: float, wait_ms: float) -> None:
        (tmp_path / "laden_child.py").write_text(LADEN.format(work_ms / 1e3, wait_ms / 1e3))
        paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        monkeypatch.setattr(crew, "MODULE", "laden_child")

    return between


LADEN = """\
from quantswarm.bench.load import swarm_child, loop
import sys, time

def work():
    while True:
        end = time.thread_time() + {}
        while time.thread_time() < end:
            pass
        time.sleep({})

loop.beside(work)
sys.exit(swarm_child.main(sys.argv[1:]))
"""


def test_a_sound_run_fails_none(bench: Bench) -> None:
    result = bench.cell()
    assert without_host(result) == []
    assert (result.status == "ok") is (broken(result) == [])
    unknown = {gate.name for gate in result.gates if gate.passed is None}
    assert unknown <= {"schedule-kept", "kept-up", "prompts-not-cached"}


def test_a_lost_spool_entry(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_one(path: Path) -> Iterator[Any]:
        return (capture for at, capture in enumerate(captures(path)) if at != 5)

    monkeypatch.setattr("quantswarm.bench.load.convert.captures", without_one)
    result = bench.cell(users=40, duration_s=0.8)
    assert only("records-complete", result), broken(result)


def test_a_window_in_which_nobody_asks(bench: Bench) -> None:
    result = bench.cell("ttft=2s,itl=1ms", users=1, duration_s=0.5, warmup_s=0.1)
    assert only("requests-begun", result), broken(result)


def test_a_generator_behind_with_its_own_work(bench: Bench, working: Any) -> None:
    working(40, 60)
    result = bench.cell()
    assert only("own-lag", result), broken(result)


def test_a_schedule_that_the_generator_missed(bench: Bench, working: Any) -> None:
    """Its work is long enough to be late with arrivals, and too short to spoil a stamp."""
    working(3.2, 3.2)
    result = bench.cell(**open_loop(rate=80.0))
    assert only("schedule-kept", result), broken(result)


def test_a_saturated_generator(bench: Bench, working: Any) -> None:
    """Never done, though it gives way often."""
    working(0.02, 0)
    result = bench.cell()
    assert only("generator-not-saturated", result), broken(result)


def test_a_usage_that_lies(bench: Bench) -> None:
    """Every answer is then longer than asked, by its own word."""
    result = bench.cell(f"{PACED},usage=wrong")
    assert (result.status, without_host(result)) == ("failed", ["token-counts"])


def test_several_tokens_an_event(bench: Bench) -> None:
    result = bench.cell(f"{PACED},usage=final,per_event=4")
    assert only("token-counts", result), broken(result)


def test_overload(bench: Bench) -> None:
    """Twenty requests a second can be served, sixty are offered."""
    load = open_loop(rate=60.0) | {"duration_s": 2.5, "drain_s": 0.5}
    result = bench.cell("ttft=50ms,itl=0ms,slots=1", **load)
    assert only("kept-up", result), broken(result)
    assert result.latencies["ttft"].n > 0
    assert set(result.latencies["ttft"].quantiles.values()) == {None}


def test_somebody_elses_request_to_the_same_server(bench: Bench) -> None:
    sent: list[threading.Thread] = []

    def intrude(progress: Progress) -> None:
        if progress.phase == "window" and not sent:
            sent.append(threading.Thread(target=ask, args=(bench.server.base_url, 3_000)))
            sent[0].start()

    result = bench.cell(on_progress=intrude, duration_s=3.0)
    sent[0].join(20)
    assert only("server-alone", result), broken(result)


def ask(base_url: str, tokens: int) -> None:
    body = {"model": "scripted:ttft=0ms,itl=0ms", "prompt": "a b c", "max_tokens": tokens}
    request = urllib.request.Request(
        f"{base_url}/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        answer.read()


def test_a_server_that_died(bench: Bench) -> None:
    def kill(progress: Progress) -> None:
        if progress.phase == "window" and not killed:
            killed.append(bench.server.pid)
            os.kill(bench.server.pid, signal.SIGKILL)

    killed: list[int] = []
    with pytest.raises(ServerDied):
        bench.cell(on_progress=kill, duration_s=3.0)
    result = judge(bench.place.folder)
    assert (result.status, without_host(result)) == ("failed", ["server-alive"])


def test_prompts_from_the_cache(bench: Bench, serve: Any, wire: Any) -> None:
    """Ten milliseconds an answer: with none, two users fill the generator's core."""

    def cached(asked: Any, to: socket.socket) -> bool:
        time.sleep(0.01)
        used = wire.usage(64, asked.tokens) | {"prompt_tokens_details": {"cached_tokens": 32}}
        told = wire.event({"choices": [], "usage": used})
        plain = wire.event({"choices": [], "usage": wire.usage(64, asked.tokens)})
        to.sendall(wire.whole_answer(asked).replace(wire.chunk(plain), wire.chunk(told)))
        return True

    subject = external(serve(cached).base_url, "m", None)
    bench.place.folder.mkdir()
    measure(subject, plan_for(subject, **bench.load()), lambda _: None)
    result = judge(bench.place.folder)
    assert only("prompts-not-cached", result), broken(result)


def test_users_changed_on_locusts_page(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done: list[int] = []

    def change(progress: Progress) -> None:
        if progress.phase == "window" and not done:
            done.append(progress.users)
            form = b"user_count=5&spawn_rate=5"
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/swarm", data=form) as answer:
                assert json.load(answer)["success"]

    result = bench.cell(on_progress=change, ui_port=port, duration_s=4.0)
    assert only("users-as-planned", result), broken(result)
