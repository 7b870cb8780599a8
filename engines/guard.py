"""The server's parent: a tiny program of the standard library alone, run by path as a script.

It adopts every process that descends from the server, those that left its session too (it is their
"child subreaper"), so the tree can always be found and stopped. It stops it when told to, when the
server ends, and when its own parent dies in whatever way: then its standard input ends. Last, it
removes the server's scratch folder: vLLM, for one, leaves its sockets where temporary files go.

Command line: STATUS_FD PARENT_PID SCRATCH CORES ARGV…   (CORES: "0,1", or "-" for no binding)
It writes `pid N` and later `exit CODE` to STATUS_FD, and reads `stop SECONDS` from standard input.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
ORPHAN_GRACE_S = 5.0
POLL_S = 0.05
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
"""Signals that this program takes in its own way, and the server must not."""


def stat_of(pid: int) -> tuple[int, int] | None:
    """(parent's pid, start time in clock ticks since boot), or None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    rest = text.rpartition(")")[2].split()
    return None if rest[0] in "ZX" else (int(rest[1]), int(rest[19]))


def every_pid() -> list[int]:
    """All processes of this machine (of this container)."""
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def descendants(root: int) -> dict[int, int]:
    """pid → start time of every live process below `root`, without `root` itself."""
    alive = {}
    for pid in every_pid():
        facts = stat_of(pid)
        if facts is not None:
            alive[pid] = facts
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in alive.items():
        children.setdefault(parent, []).append(pid)
    found: dict[int, int] = {}
    waiting = [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            found[pid] = alive[pid][1]
            waiting.append(pid)
    return found


def send(pid: int, started: int, number: int) -> None:
    """Signal the very process that was seen: a later one with the same pid is left alone."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        facts = stat_of(pid)
        if facts is not None and facts[1] == started:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def signal_all(processes: dict[int, int], number: int) -> None:
    """Send `number` to every process of the mapping that still lives."""
    for pid, started in processes.items():
        send(pid, started, number)


class Guard:
    """One server process, its tree and its scratch folder, and the pipe to whoever ordered it."""

    def __init__(self, status: int, parent: int, scratch: str) -> None:
        self.status = status
        self.parent = parent
        self.scratch = scratch
        self.server = 0
        self.exit_code: int | None = None
        self.buffer = b""

    def start(self, argv: list[str], cores: str) -> None:
        """Fork the server into a session of its own."""
        libc = ctypes.CDLL(None, use_errno=True)
        me = os.getpid()
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        # A signal that comes before exec must end the child, not run this program's handler in it.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        pid = os.fork()
        if pid == 0:
            self._become(argv, cores, libc, me)
        self.server = pid
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        self.tell(f"pid {pid}")

    def _become(self, argv: list[str], cores: str, libc: ctypes.CDLL, guard: int) -> None:
        try:
            os.setsid()
            for number in HANDLED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            # Should even this guard be killed, the kernel still ends the server itself.
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != guard:  # it was killed before the line above
                os._exit(127)
            if cores != "-":
                os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.close(self.status)
            os.execvpe(argv[0], argv, os.environ)
        except OSError as error:
            os.write(2, f"cannot start {argv[0]}: {error}\n".encode())
        os._exit(127)

    def tell(self, line: str) -> None:
        """Report to the parent, who may be gone."""
        with contextlib.suppress(OSError):
            os.write(self.status, f"{line}\n".encode())

    def reap(self) -> None:
        """Collect whatever ended; note the server's own exit code (negative for a signal)."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.server:
                self.exit_code = os.waitstatus_to_exitcode(status)
                self.tell(f"exit {self.exit_code}")

    def wait(self) -> float:
        """Block until the tree should be stopped; returns the grace to give it, in seconds."""
        while True:
            self.reap()
            if self.exit_code is not None or os.getppid() != self.parent:
                return ORPHAN_GRACE_S
            readable, _, _ = select.select([0], [], [], POLL_S)
            if readable:
                data = os.read(0, 4096)
                self.buffer += data
                if not data:
                    return ORPHAN_GRACE_S
                line, newline, _ = self.buffer.partition(b"\n")
                if newline:
                    return float(line.split()[1])

    def patience(self, deadline: float, only: set[int] | None, asked: set[int]) -> None:
        """Ask each process (of `only`) once to end, and wait until they did or time is up."""
        while time.monotonic() < deadline:
            self.reap()
            left = descendants(os.getpid())
            left = left if only is None else {pid: left[pid] for pid in only & left.keys()}
            if not left:
                return
            signal_all({pid: left[pid] for pid in left.keys() - asked}, signal.SIGTERM)
            asked |= left.keys()
            time.sleep(POLL_S)

    def stop(self, grace_s: float) -> None:
        """SIGTERM to the server, to its orphans once it is gone, SIGKILL to all after the grace."""
        deadline = time.monotonic() + grace_s
        self.patience(deadline, {self.server}, set())
        self.patience(min(deadline, time.monotonic() + ORPHAN_GRACE_S), None, set())
        while left := descendants(os.getpid()):
            signal_all(left, signal.SIGKILL)
            self.reap()
            time.sleep(0.01)
        self.reap()
        shutil.rmtree(self.scratch, ignore_errors=True)


def main(words: list[str]) -> int:
    """Guard one server from start to end; returns 0 once nothing of it is left."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    status, parent, scratch, cores, *argv = words
    guard = Guard(int(status), int(parent), scratch)

    def ended(_number: int, _frame: object) -> None:
        guard.stop(ORPHAN_GRACE_S)
        os._exit(0)

    signal.signal(signal.SIGTERM, ended)
    guard.start(argv, cores)
    guard.stop(guard.wait())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
