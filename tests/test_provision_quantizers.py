"""Set-up of the quantizers' own environment; pip is played by a recorder."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from quantswarm.engines.provision import machine as machines
from quantswarm.engines.provision import quantizers
from quantswarm.engines.provision.environment import HERE, TORCH, Place
from quantswarm.engines.provision.progress import Progress
from quantswarm.engines.provision.quantizers import quantizers_step
from quantswarm.engines.provision.steps import carry_out
from quantswarm.models.quantize import environment


class Pip:
    """Makes an empty environment, and says of every torch that it is a CPU build."""

    def __init__(self) -> None:
        self.ran: list[list[str]] = []

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        words = [str(word) for word in argv]
        self.ran.append(words)
        if "venv" in words:
            python = Path(words[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.write_text("")
            python.chmod(0o755)
        if "--report" in words:
            report = Path(words[words.index("--report") + 1])
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(json.dumps({"install": [{"metadata": {}}]}))


def quiet() -> Progress:
    return Progress(["a step"], [1.0], stream=io.StringIO())


def quantizing(folder: Path, *, gpu: bool = False) -> tuple[Place, Pip]:
    pip = Pip()
    machine = machines.Machine(
        architecture="x86_64",
        cores=2,
        cpu_flags=frozenset(),
        gpu=gpu,
        nvcc=None,
        compiler=None,
        cmake=None,
        ninja=None,
    )
    return Place(root=folder, home=folder / "home", machine=machine, run=pip), pip


def test_the_quantizers_have_an_environment_of_their_own(tmp_path: Path) -> None:
    place, pip = quantizing(tmp_path)
    step = quantizers_step(place)
    assert not step.done()
    carry_out([step], quiet())
    assert step.done()
    current = tmp_path / "home" / "quantizers" / "current"
    assert (current / "bin" / "python").is_file()
    assert step.stamp.is_relative_to(current.resolve())
    installs = [words for words in pip.ran if "install" in words]
    assert all(str(current.resolve()) in words[0] for words in installs)
    (built,) = [words for words in installs if str(HERE / "quantizers-built.txt") in words]
    assert "--no-build-isolation" in built
    assert built is installs[-1]


def test_another_list_is_another_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _ = quantizing(tmp_path)
    first = quantizers_step(place)
    carry_out([first], quiet())
    other = tmp_path / "other.txt"
    other.write_text("numpy==1\n")
    monkeypatch.setattr(quantizers, "_PACKAGES", other)
    second = quantizers_step(place)
    assert second.stamp != first.stamp
    assert not second.done()
    carry_out([second], quiet())
    assert second.done()
    assert not first.done()


def test_a_gpu_host_gets_torch_for_cuda(tmp_path: Path) -> None:
    place, pip = quantizing(tmp_path, gpu=True)
    carry_out([quantizers_step(place)], quiet())
    assert [words[-2:] for words in pip.ran if words[-1] == TORCH] == [["install", TORCH]]


def test_they_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that only serves what needs no calibration need not have them."""
    place, _ = quantizing(tmp_path)
    assert [step.title for step in quantizers.quantizers_steps(place)] == [quantizers.TITLE]
    monkeypatch.setenv(quantizers.VARIABLE, "no")
    assert quantizers.quantizers_steps(place) == []


def test_the_quantizers_list_has_no_gap_and_torch_is_the_engines_own() -> None:
    both = (HERE / "quantizers.txt").read_text() + (HERE / "quantizers-built.txt").read_text()
    lines = [line for line in both.splitlines() if line and not line.startswith("#")]
    assert all(re.match(r"[\w.-]+==[\w.]+(\s+# .*)?$", line) for line in lines)
    names = {line.partition("==")[0].lower() for line in lines}
    assert len(names) == len(lines)
    assert {"gptqmodel", "llmcompressor", "setuptools", "numpy"} <= names
    assert "torch" not in names


def test_recipes_find_what_set_up_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, _ = quantizing(tmp_path)
    carry_out([quantizers_step(place)], quiet())
    monkeypatch.setenv("QUANTSWARM_HOME", str(place.home))
    assert environment.python("test").resolve().is_relative_to(place.home / "quantizers")
