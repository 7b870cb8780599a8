"""Processes that tests own, conditions with deadlines, and engines made for tests."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

from quantswarm.engines.base import Availability, Command, Engine, ServeSpec
from quantswarm.engines.hardware import Gpu, Host
from quantswarm.engines.process import ServerProcess
from quantswarm.engines.readiness import free_port

STUBS = Path(__file__).parent / "stubs"
# What stands in for NVML is shared with the tests of the bench.
sys.path.insert(0, str(Path(__file__).parent / "nvml"))


def _until(condition: Callable[[], Any], what: str, deadline_s: float = 30.0) -> Any:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s} s: {what}")


@pytest.fixture
def until() -> Callable[..., Any]:
    return _until


@pytest.fixture
def stubs() -> Path:
    return STUBS


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts processes that end with the test, whatever happens."""
    started: list[ServerProcess] = []

    def begin(*argv: str, **options: Any) -> ServerProcess:
        process = ServerProcess(argv, log=tmp_path / f"{len(started)}.log", **options)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.stop(grace_s=0)


@pytest.fixture
def gone(until: Callable[..., Any]) -> Callable[[list[int]], None]:
    """Waits until none of these pids is a live process."""

    def dead(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def check(pids: list[int]) -> None:
        until(lambda: all(map(dead, pids)), f"{pids} are gone")

    return check


class StubEngine(Engine):
    """Runs stubs/http_stub.py in one of its modes."""

    name = "stub"
    summary = "for tests"
    formats: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init__(self, mode: str, seconds: float = 0.0) -> None:
        self.mode = mode
        self.seconds = seconds

    def probe(self) -> Availability:
        return Availability(available=self.mode != "absent", reason="not here", cure="bring it")

    def command(self, artefact: Any, spec: ServeSpec, flags: tuple[str, ...]) -> Command:
        script = str(STUBS / "http_stub.py")
        argv = (sys.executable, script, str(spec.port), self.mode, str(self.seconds))
        return Command(argv=argv)


@pytest.fixture
def stub_engine() -> type[StubEngine]:
    return StubEngine


@pytest.fixture
def stub_spec() -> ServeSpec:
    return ServeSpec(
        host="127.0.0.1",
        port=free_port(),
        served_name="stub",
        threads=1,
        cores=(),
        slots=1,
        context_tokens=16,
    )


@pytest.fixture
def gpu_host() -> Host:
    """Two cores with AVX2 and one GPU of Hopper's generation."""
    return Host(
        cpu="A CPU",
        isa=("avx2",),
        cores=(0, 1),
        core_groups=((0,), (1,)),
        memory_bytes=2**34,
        gpus=(Gpu(index=0, name="G", memory_bytes=2**36, driver="1", compute_capability="9.0"),),
    )
