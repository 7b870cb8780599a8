"""The swarm's process seen from its parent: started in its own group, followed, stopped, buried."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quantswarm.bench.load.patience import GiveUp
from quantswarm.bench.load.progress import Progress, progress_from
from quantswarm.models.errors import RunFailed

MODULE = "quantswarm.bench.load.swarm_child"
PREPARE_S = 180.0
"""Most time from the start to the first user: imports and prompts."""
SLACK_S = 60.0
STOP_S = 15.0
_LOOK_S = 0.25
_LOG_LINES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a swarm's process ended. `started` is the last count it told of requests begun,
    `given_up` the reason of whoever followed it to end it."""

    exit_code: int
    interrupted: bool
    overdue: bool
    started: int
    given_up: str | None = None


class Child:
    """One run of `swarm_child`. Its group differs from ours, so Ctrl-C reaches only us."""

    def __init__(self, log: Path, longest_s: float) -> None:
        self._log = log
        self._longest_s = longest_s
        self._last: Progress | None = None
        self._rest = b""

    def run(self, plan_file: Path, on_progress: Callable[[Progress], None]) -> Ended:
        """Start, follow, and wait for the end; no process is left however this is left.

        Ctrl-C asks the process to stop, a second one kills it; both return. So does `GiveUp`,
        raised by `on_progress`.
        """
        reading, writing = os.pipe()
        interrupted = overdue = False
        given_up = None
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            process = self._spawn(plan_file, writing)
            try:
                overdue = not self._follow(pipe.fileno(), on_progress)
            except KeyboardInterrupt:
                interrupted = True
                self._ask_to_stop(process)
            except GiveUp as reason:
                given_up = str(reason)
                interrupted = self._ask_to_stop(process)
            finally:
                _bury(process)
            self._take(_left_in(pipe.fileno()), on_progress=lambda _: None)
        return Ended(
            exit_code=process.returncode,
            interrupted=interrupted,
            overdue=overdue,
            started=self._last.started if self._last else 0,
            given_up=given_up,
        )

    def failure(self, ended: Ended, kept: int) -> RunFailed:
        """The error for a swarm that ended without leaving its facts."""
        how = "was killed for being overdue" if ended.overdue else f"ended: code {ended.exit_code}"
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return RunFailed(
            "the swarm",
            f"its process {how}; {kept} requests of {ended.started} have a record",
            evidence="\n".join(lines[-_LOG_LINES:]),
            next_step=f"read {self._log}",
        )

    def _spawn(self, plan_file: Path, writing: int) -> subprocess.Popen[bytes]:
        try:
            with self._log.open("wb") as log:
                return subprocess.Popen(
                    [sys.executable, "-P", "-m", MODULE, str(plan_file), str(writing)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(writing,),
                    process_group=0,
                )
        finally:
            os.close(writing)

    def _follow(self, descriptor: int, on_progress: Callable[[Progress], None]) -> bool:
        """Until the pipe closes; False when that takes longer than it may."""
        begun_s = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while time.monotonic() - begun_s < PREPARE_S + self._longest_s + SLACK_S:
                if not selector.select(_LOOK_S):
                    continue
                data = os.read(descriptor, 65_536)
                if not data:
                    return True
                self._take(data, on_progress)
        return False

    def _take(self, data: bytes, on_progress: Callable[[Progress], None]) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            progress = progress_from(line)
            if progress is not None:
                self._last = progress
                on_progress(progress)

    def _ask_to_stop(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether Ctrl-C came while it was waited for."""
        try:
            _signal_group(process, signal.SIGINT)
            process.wait(STOP_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
            _signal_group(process, signal.SIGKILL)
            return isinstance(error, KeyboardInterrupt)
        return False


def _left_in(descriptor: int) -> bytes:
    """What a dead process left in its pipe."""
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, 1 << 20)
    except BlockingIOError:
        return b""


def _bury(process: subprocess.Popen[bytes]) -> None:
    """Wait a moment for a process that has closed its pipe, then kill its group; reap it."""
    try:
        process.wait(2.0)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the whole group; a reaped leader's number may be another's by now, so never after that."""
    if process.returncode is None:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
