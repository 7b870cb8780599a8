from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quantswarm.models.errors import NoSpace, NotAvailable
from quantswarm.models.sealed import Build, Contents, damage, read_seal, sealed_folder


def writer(text: str, calls: list[str]) -> Build:
    def build(folder: Path) -> Contents:
        calls.append(text)
        (folder / "weights.bin").write_text(text)
        return Contents(facts={"said": text})

    return build


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.endswith(".lock")]


def test_builds_once_and_remembers_size_and_sha256(tmp_path: Path) -> None:
    calls: list[str] = []
    for _ in range(2):
        seal = sealed_folder(tmp_path / "a", asked="a", build=writer("hello", calls))
    assert calls == ["hello"]
    (entry,) = seal.files
    assert (entry.path, entry.size_bytes) == ("weights.bin", 5)
    assert entry.sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert seal.facts == {"said": "hello"}
    assert leftovers(tmp_path) == ["a"]


@pytest.mark.parametrize("failure", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_failed_or_interrupted_build_leaves_nothing(
    tmp_path: Path, failure: BaseException
) -> None:
    def build(folder: Path) -> Contents:
        (folder / "half").write_text("ha")
        raise failure

    with pytest.raises(type(failure)):
        sealed_folder(tmp_path / "a", asked="a", build=build)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_text("hell"), "4 bytes, 5 were sealed"),
        (lambda path: path.write_text("jello"), "has changed"),
        (lambda path: path.unlink(), "is missing"),
    ],
)
def test_damage_is_noticed_and_built_again(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    words: str,
) -> None:
    calls: list[str] = []
    sealed_folder(tmp_path / "a", asked="a", build=writer("hello", calls))
    path = tmp_path / "a" / "weights.bin"
    spoil(path)
    if path.exists():
        os.utime(path, ns=(1, 1))
    sealed_folder(tmp_path / "a", asked="a", build=writer("hello", calls))
    assert calls == ["hello", "hello"]
    assert words in capsys.readouterr().err
    assert path.read_text() == "hello"
    assert leftovers(tmp_path) == ["a"]


def test_a_touched_file_of_equal_content_is_whole(tmp_path: Path) -> None:
    calls: list[str] = []
    seal = sealed_folder(tmp_path / "a", asked="a", build=writer("hello", calls))
    os.utime(tmp_path / "a" / "weights.bin", ns=(1, 1))
    assert damage(seal) is None


def test_a_folder_without_a_readable_seal_is_not_whole(tmp_path: Path) -> None:
    calls: list[str] = []
    sealed_folder(tmp_path / "a", asked="a", build=writer("hello", calls))
    seal = tmp_path / "a" / "seal.json"
    seal.write_bytes(seal.read_bytes()[:-3])
    assert read_seal(tmp_path / "a") is None
    sealed_folder(tmp_path / "a", asked="a", build=writer("hello", calls))
    assert len(calls) == 2


def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    def build(folder: Path) -> Contents:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NoSpace, match="is full"):
        sealed_folder(tmp_path / "a", asked="a", build=build)
    assert leftovers(tmp_path) == []


def test_a_home_that_is_a_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(NotAvailable, match="QUANTSWARM_HOME"):
        sealed_folder(tmp_path / "home" / "a", asked="a", build=writer("x", []))


_SLOW_BUILD = """
import sys
from pathlib import Path
from quantswarm.models.sealed import Contents, sealed_folder

def build(folder):
    (folder / "weights.bin").write_text("half")
    print("building", flush=True)
    sys.stdin.readline()
    (folder / "weights.bin").write_text("whole by " + sys.argv[2])
    return Contents()

sealed_folder(Path(sys.argv[1]), asked="a", build=build)
print("done", flush=True)
"""


@pytest.fixture
def start_build(tmp_path: Path) -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []

    def start(name: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _SLOW_BUILD, str(tmp_path / "a"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_after_a_killed_build_the_next_one_builds_anew_and_whole(
    tmp_path: Path, start_build: Any
) -> None:
    killed = start_build("killed")
    assert killed.stdout.readline() == "building\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (left,) = leftovers(tmp_path)
    assert ".building-" in left, "the test must have killed it half-way"
    assert read_seal(tmp_path / "a") is None
    calls: list[str] = []
    sealed_folder(tmp_path / "a", asked="a", build=writer("whole", calls))
    assert calls == ["whole"]
    assert leftovers(tmp_path) == ["a"]
    assert (tmp_path / "a" / "weights.bin").read_text() == "whole"


def test_ctrl_c_in_a_build_leaves_nothing(tmp_path: Path, start_build: Any) -> None:
    interrupted = start_build("interrupted")
    assert interrupted.stdout.readline() == "building\n"
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(timeout=30) != 0
    assert leftovers(tmp_path) == []


def test_two_processes_build_one_artefact_once(tmp_path: Path, start_build: Any) -> None:
    first = start_build("first")
    assert first.stdout.readline() == "building\n"
    second = start_build("second")
    assert "another process builds it; waiting" in second.stderr.readline()
    first.stdin.write("\n")
    first.stdin.flush()
    assert first.stdout.readline() == "done\n"
    assert second.stdout.readline() == "done\n"
    assert (tmp_path / "a" / "weights.bin").read_text() == "whole by first"


def test_a_living_build_of_another_artefact_is_left_alone(tmp_path: Path, start_build: Any) -> None:
    first = start_build("first")
    assert first.stdout.readline() == "building\n"
    sealed_folder(tmp_path / "b", asked="b", build=writer("x", []))
    first.stdin.write("\n")
    first.stdin.flush()
    assert first.stdout.readline() == "done\n"
    assert sorted(leftovers(tmp_path)) == ["a", "b"]


def test_a_build_inside_a_build_keeps_the_outer_one(tmp_path: Path) -> None:
    def outer(folder: Path) -> Contents:
        inner = sealed_folder(tmp_path / "inner", asked="inner", build=writer("x", []))
        (folder / "sum").write_text(inner.files[0].sha256)
        return Contents()

    sealed_folder(tmp_path / "outer", asked="outer", build=outer)
    assert sorted(leftovers(tmp_path)) == ["inner", "outer"]
