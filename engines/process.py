"""A server's process tree: started in its own session, watched, and stopped to the last process."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from quantswarm.engines import guard, scratch
from quantswarm.models.errors import BadFile, RunFailed

FROM_FILE = "@file:"
"""An environment value `@file:PATH` stands for the first key in that file: it is read at launch, so
that no secret is ever printed, stored or put on a command line."""

STOP_MARGIN_S = 15.0
MAPPED = "quantswarm: compute libraries in use: "
COMPUTE_LIBRARY = re.compile(r"/((?:_C\w*\.abi3|libggml-(?!base)[\w-]+|libllama)\.so)[\d.]*$")


def key_in(path: Path) -> str:
    """The first line of a key file that is neither empty nor a comment (#)."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadFile(
            f"key file {path}",
            f"cannot be read: {error.strerror}",
            next_step="a file with one key a line; check --api-key-file",
        ) from None
    except UnicodeDecodeError:
        raise BadFile(
            f"key file {path}", "not a text file", next_step="a file with one key a line"
        ) from None
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise BadFile(f"key file {path}", "holds no key", next_step="one key a line")
    return keys[0]


def resolved(env: Mapping[str, str]) -> dict[str, str]:
    """`env` with every `@file:PATH` value replaced by the key that the file holds."""
    return {
        name: key_in(Path(value.removeprefix(FROM_FILE))) if value.startswith(FROM_FILE) else value
        for name, value in env.items()
    }


class ServerProcess:
    """A program and all its descendants, under a guard that ends them when this process ends."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cores: Sequence[int] = (),
        cwd: Path | None = None,
    ) -> None:
        """Start at once; stdout and stderr are appended to `log`. `RunFailed` if it cannot.

        Its temporary files go to a folder of its own, which goes with the last of its processes.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self._exit_code: int | None = None
        self._pending = b""
        status_read, status_write = os.pipe()
        self._status = status_read
        given = resolved(env or {})
        self._scratch = scratch.make()
        environment = {**os.environ, "TMPDIR": str(self._scratch), **given}
        bound = ",".join(map(str, cores)) or "-"
        words = [str(status_write), str(os.getpid()), str(self._scratch), bound, *argv]
        with log.open("ab") as sink:
            self._guard = self._spawn(words, environment, status_write, sink, cwd)
        os.close(status_write)
        self.pid = self._first_report(argv[0])
        facts = guard.stat_of(self.pid)
        self._started = facts[1] if facts else None

    @staticmethod
    def _spawn(
        words: Sequence[str],
        env: Mapping[str, str],
        status: int,
        sink: IO[bytes],
        cwd: Path | None,
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, *words],
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=sink,
            env=env,
            cwd=cwd,
            pass_fds=(status,),
            start_new_session=True,
        )

    def _first_report(self, program: str) -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self._read_status(timeout_s=0.2)
            line, newline, rest = self._pending.partition(b"\n")
            if newline and line.startswith(b"pid "):
                self._pending = rest
                return int(line.split()[1])
            if self._guard.poll() is not None:
                break
        self._guard.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)
        raise RunFailed(
            f"start {program}",
            "its guard process did not start",
            evidence=self.tail(),
            next_step="try again; quantswarm doctor checks this machine",
        )

    def _read_status(self, timeout_s: float = 0.0) -> None:
        while select.select([self._status], [], [], timeout_s)[0]:
            data = os.read(self._status, 4096)
            if not data:
                return
            self._pending += data
            timeout_s = 0.0

    def exit_code(self) -> int | None:
        """None while the program lives; its exit code, negative for a signal, afterwards."""
        if self._exit_code is None and self._status >= 0:
            self._read_status()
            for line in self._pending.splitlines():
                if line.startswith(b"exit "):
                    self._exit_code = int(line.split()[1])
        if self._exit_code is None and self._guard.poll() is not None:
            self._exit_code = -signal.SIGKILL
        return self._exit_code

    def alive(self) -> bool:
        """Whether the program itself still runs."""
        return self.exit_code() is None

    def tree(self) -> tuple[int, ...]:
        """Every live pid of the program and its descendants, orphans included."""
        return tuple(sorted(guard.descendants(self._guard.pid)))

    def note_libraries(self) -> None:
        """Add a line to the log that names the compute libraries which the tree has loaded.

        Servers seldom log which of several libraries they chose, and it decides their speed.
        """
        found: set[str] = set()
        for pid in self.tree():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
                    if (match := COMPUTE_LIBRARY.search(line)) is not None:
                        found.add(match[1])
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{MAPPED}{' '.join(sorted(found))}\n")

    def tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        return last_lines(self.log, lines)

    def stop(self, grace_s: float = 10.0) -> None:
        """End the whole tree: SIGTERM, `grace_s` of patience, SIGKILL. Safe to call twice."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            with contextlib.suppress(OSError):
                self._guard.stdin.write(f"stop {grace_s}\n".encode())
                self._guard.stdin.flush()
        try:
            self._guard.wait(grace_s + STOP_MARGIN_S)
        except subprocess.TimeoutExpired:
            guard.signal_all(guard.descendants(self._guard.pid), signal.SIGKILL)
            self._guard.kill()
            self._guard.wait()
        finally:
            self._release()

    def _release(self) -> None:
        self.exit_code()
        self._sweep()
        if self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
        if self._status >= 0:
            os.close(self._status)
            self._status = -1

    def _sweep(self) -> None:
        """If the guard itself was killed: end what is left of the server's own session."""
        facts = guard.stat_of(self.pid)
        if self._guard.returncode == 0 or (facts is not None and facts[1] != self._started):
            return
        for pid in guard.every_pid():
            with contextlib.suppress(OSError):
                if os.getsid(pid) == self.pid and (seen := guard.stat_of(pid)):
                    guard.send(pid, seen[1], signal.SIGKILL)
        shutil.rmtree(self._scratch, ignore_errors=True)


def mapped_in(log: str) -> tuple[str, ...]:
    """The libraries that `note_libraries` wrote into this log."""
    lines = [line for line in log.splitlines() if line.startswith(MAPPED)]
    return tuple(dict.fromkeys(word for line in lines for word in line[len(MAPPED) :].split()))


def last_lines(path: Path, lines: int) -> str:
    """The last `lines` lines of a file that may be large, or may not exist (then empty)."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 400 * lines))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
