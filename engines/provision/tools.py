"""Runs other programs for set-up: output to a log, the log's end in the error, no orphans."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from quantswarm.models.errors import BuildFailed

_TAIL_LINES = 15


class Run(Protocol):
    """Runs a program to its end; tests put their own in its place."""

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """`BuildFailed` with the log's last lines unless it exits with 0."""


def runner(*, held: int | None = None) -> Run:
    """A `Run` whose programs keep the descriptor `held` open.

    That is set-up's lock: if set-up itself is killed outright, the lock lives on in pip or ninja,
    and a second set-up waits for them to end instead of writing beside them.
    """

    def run(
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as sink:
            sink.write(f"$ {' '.join(map(str, argv))}\n")
            sink.flush()
            process = _start(argv, env, () if held is None else (held,))
            try:
                _follow(process, sink.write, on_line)
            finally:
                _end(process)
        if process.returncode:
            raise BuildFailed(
                f"set-up ran {Path(argv[0]).name}",
                f"it ended with status {process.returncode}",
                evidence=f"The end of {log}:\n{tail(log)}",
                next_step="mend the cause and run make setup again: it goes on from here",
            )

    return run


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines of a log, indented, for an error message."""
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in text[-lines:])


def _start(
    argv: Sequence[str | Path], env: Mapping[str, str] | None, held: tuple[int, ...]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(part) for part in argv],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=held,
        start_new_session=True,  # so that Ctrl-C reaches us alone, and we end the whole group
    )


def _follow(
    process: subprocess.Popen[str],
    write: Callable[[str], object],
    on_line: Callable[[str], None] | None,
) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        write(line)
        if on_line is not None:
            on_line(line)
    process.wait()


def _end(process: subprocess.Popen[str]) -> None:
    """Nothing of an interrupted program stays: its whole group is ended, gently, then not."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
