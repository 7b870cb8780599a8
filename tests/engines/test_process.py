"""Process trees: all of it is found, all of it is stopped, and nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from quantswarm.engines import guard
from quantswarm.engines.process import (
    FROM_FILE,
    MAPPED,
    key_in,
    last_lines,
    mapped_in,
    resolved,
)
from quantswarm.models.errors import BadFile

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")


def family(file: Path) -> dict[str, int]:
    if not file.exists():
        return {}
    return {name: int(pid) for name, pid in map(str.split, file.read_text().splitlines())}


@pytest.fixture
def whole_family(start, stubs, tmp_path, until):
    """A started family of three, by name, and its process."""

    def begin(mode):
        file = tmp_path / "pids"
        process = start(sys.executable, str(stubs / "family.py"), str(file), mode)
        until(lambda: len(family(file)) == 3, "the family is complete")
        return process, family(file)

    return begin


@pytest.mark.parametrize("mode", ["polite", "stubborn"])
def test_stop_ends_children_and_daemons(whole_family, gone, mode):
    process, pids = whole_family(mode)
    assert process.pid == pids["server"]
    assert set(process.tree()) == set(pids.values())
    process.stop(grace_s=0.5)
    gone(list(pids.values()))
    assert process.tree() == ()
    assert not process.alive()


def test_family_of_a_dead_server_is_ended_without_being_told(whole_family, gone, until):
    process, pids = whole_family("leaves")
    assert until(process.exit_code, "the server's exit code") == 7
    gone(list(pids.values()))


def test_family_ends_when_the_server_is_killed_from_outside(whole_family, gone, until):
    process, pids = whole_family("stubborn")
    os.kill(pids["server"], signal.SIGKILL)
    until(lambda: not process.alive(), "the death is noticed")
    assert process.exit_code() == -signal.SIGKILL
    process.stop(grace_s=0)
    gone(list(pids.values()))


def test_server_ends_when_its_guard_is_killed(start, gone):
    process = start(*SLEEPER)
    os.kill(process._guard.pid, signal.SIGKILL)
    gone([process.pid])
    assert not process.alive()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_family_ends_with_the_process_that_ordered_it(stubs, tmp_path, until, gone, number):
    file = tmp_path / "pids"
    code = (
        "import sys, time, pathlib\n"
        "from quantswarm.engines.process import ServerProcess\n"
        f"argv = [sys.executable, {str(stubs / 'family.py')!r}, {str(file)!r}, 'polite']\n"
        "p = ServerProcess(argv,"
        f" log=pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        until(lambda: len(family(file)) == 3, "the family is complete")
        parent.send_signal(number)
        parent.wait(30)
        gone(list(family(file).values()))
    finally:
        parent.kill()
        parent.wait()


@pytest.mark.parametrize("end", ["stopped", "killed", "leaves", "guard-killed"])
def test_its_temporary_files_go_with_it(start, stubs, tmp_path, until, end):
    ready = tmp_path / "ready"
    then = "ends" if end == "leaves" else "stays"
    process = start(sys.executable, str(stubs / "litterer.py"), str(ready), then)
    until(ready.exists, "it has left a file")
    folder = Path(ready.read_text())
    if end == "killed":
        os.kill(process.pid, signal.SIGKILL)
    if end == "guard-killed":
        assert folder.exists()
        os.kill(process._guard.pid, signal.SIGKILL)
    if end in ("stopped", "guard-killed"):
        process.stop(grace_s=0)
    until(lambda: not folder.parent.exists(), "its folder is gone")
    assert folder.parent.parent == Path(tempfile.gettempdir())


def test_what_pytorch_compiled_stays(start, stubs, tmp_path, until, monkeypatch):
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path / "home"))
    ready = tmp_path / "ready"
    process = start(sys.executable, str(stubs / "litterer.py"), str(ready), "stays")
    until(ready.exists, "it runs")
    (shared,) = Path(ready.read_text()).parent.glob("torchinductor_*")
    (shared / "header.gch").touch()
    process.stop(grace_s=0)
    assert not shared.parent.exists()
    assert (tmp_path / "home" / "torchinductor" / "header.gch").exists()


def test_a_reused_pid_is_left_alone():
    with subprocess.Popen(SLEEPER) as other:
        facts = guard.stat_of(other.pid)
        assert facts is not None
        parent, started = facts
        assert parent == os.getpid()
        guard.send(other.pid, started - 1, signal.SIGKILL)
        assert other.poll() is None
        guard.send(other.pid, started, signal.SIGKILL)
        assert other.wait(30) == -signal.SIGKILL


def test_affinity_reaches_the_server(start, until):
    core = min(os.sched_getaffinity(0))
    code = "import os; print('cores', sorted(os.sched_getaffinity(0)), flush=True)"
    process = start(sys.executable, "-c", code, cores=(core,))
    until(lambda: not process.alive(), "it has printed")
    assert process.tail() == f"cores [{core}]"


def test_a_missing_program_is_named_in_the_log(start, until):
    process = start("/no/such/program")
    assert until(process.exit_code, "it ends") == 127
    assert "cannot start /no/such/program" in process.tail()


def test_stop_twice_is_harmless(start):
    process = start(*SLEEPER)
    process.stop(grace_s=1)
    process.stop(grace_s=1)
    assert process.exit_code() == -signal.SIGTERM


def test_stop_between_fork_and_exec_ends_the_server_and_not_a_copy_of_its_guard(
    start, stubs, monkeypatch
):
    monkeypatch.setattr(guard, "__file__", str(stubs / "slow_guard.py"))
    process = start(*SLEEPER, cores=tuple(os.sched_getaffinity(0)))
    assert process.alive()
    process.stop(grace_s=10)
    assert process.exit_code() == -signal.SIGTERM


def test_secrets_are_read_at_launch_only(tmp_path, start, until):
    file = tmp_path / "key"
    file.write_text("# mine\n\nsecret-1\nsecret-2\n")
    assert key_in(file) == "secret-1"
    env = {"KEY": f"{FROM_FILE}{file}", "OTHER": "x"}
    assert resolved(env) == {"KEY": "secret-1", "OTHER": "x"}
    process = start(sys.executable, "-c", "import os; print(os.environ['KEY'])", env=env)
    until(lambda: not process.alive(), "it has printed")
    assert process.tail() == "secret-1"
    with pytest.raises(BadFile, match="cannot be read"):
        key_in(tmp_path / "none")
    file.write_text("# only a comment\n")
    with pytest.raises(BadFile, match="holds no key"):
        key_in(file)


def test_libraries_in_use_are_noted_in_the_log(start):
    process = start(*SLEEPER)
    process.note_libraries()
    assert mapped_in(process.log.read_text()) == ()
    text = f"x\n{MAPPED}_C.abi3.so libggml-cpu-zen4.so\n{MAPPED}_C.abi3.so\n"
    assert mapped_in(text) == ("_C.abi3.so", "libggml-cpu-zen4.so")


def test_last_lines_of_long_short_and_absent_files(tmp_path):
    file = tmp_path / "log"
    assert last_lines(file, 3) == ""
    file.write_text("one\n")
    assert last_lines(file, 3) == "one"
    file.write_text("".join(f"{n}\n" for n in range(100_000)))
    assert last_lines(file, 2) == "99998\n99999"
