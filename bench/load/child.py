"""One process of the swarm seen from its parent: started in its own group, heard, ended, buried."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from quantswarm.bench.load.progress import Progress, progress_from

_MOURN_S = 2.0
_LOG_LINES = 15


class Child:
    """A running module that tells its progress through a pipe.

    Its group differs from ours, so Ctrl-C reaches only us; its pipe breaks when we are gone.
    """

    def __init__(self, name: str, module: str, plan_file: Path, log: Path, *words: str) -> None:
        """Start at once."""
        self.name = name
        self.last: Progress | None = None
        self.exit_code: int | None = None
        self._log = log
        self._rest = b""
        self._pipe, writing = os.pipe()
        command = [sys.executable, "-P", "-m", module, str(plan_file), str(writing), *words]
        self._process = self._spawn(command, writing)

    def _spawn(self, command: Sequence[str], writing: int) -> subprocess.Popen[bytes]:
        try:
            with self._log.open("wb") as log:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(writing,),
                    process_group=0,
                )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(writing)

    def fileno(self) -> int:
        """Of the pipe, for a selector."""
        return self._pipe

    def hear(self) -> list[Progress] | None:
        """What it has told since; None once it has closed its end. Waits until there is either."""
        data = os.read(self._pipe, 65_536)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        told = [progress for line in lines if (progress := progress_from(line)) is not None]
        self.last = told[-1] if told else self.last
        return told

    def ask_to_stop(self) -> None:
        """As Ctrl-C would; it keeps what it has."""
        self._signal(signal.SIGINT)

    def ended_within(self, seconds: float) -> bool:
        """Wait for its end so long at most."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it and all it has started, whatever they are doing."""
        self._signal(signal.SIGKILL)

    def bury(self, patience_s: float = _MOURN_S) -> None:
        """Wait a moment for a process that has closed its pipe, then kill its group; reap it.

        Safe to call twice; nothing of it is left, even when the waiting is interrupted.
        """
        if self.exit_code is not None:
            return
        try:
            self.ended_within(patience_s)
        finally:
            self.kill()
            self.exit_code = self._process.wait()
            os.close(self._pipe)

    @property
    def failed(self) -> bool:
        """Whether it ended, and not as it should."""
        return self.exit_code not in (None, 0)

    @property
    def how_it_ended(self) -> str:
        """In words; a code under 0 is a signal's number."""
        return "has not ended" if self.exit_code is None else f"ended: code {self.exit_code}"

    def log_tail(self) -> str:
        """The last lines it wrote."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return "\n".join(lines[-_LOG_LINES:])

    def _signal(self, number: signal.Signals) -> None:
        """To the whole group; a reaped leader's number may be another's by now, so never then."""
        if self._process.returncode is None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return
