"""What this machine can do and cannot, with the cure of each lack. Starts no engine."""

from __future__ import annotations

import os
import queue
import resource
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from quantswarm.engines import hardware
from quantswarm.engines.hardware import Host
from quantswarm.engines.registry import engines

GIB = 1024**3
ENOUGH_MEMORY_BYTES = 4 * GIB
ENOUGH_DISK_BYTES = 10 * GIB
ENOUGH_FILES = 4096
STEAL_LIMIT = 0.02
HUB = ("huggingface.co", 443)

State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding. `cure` is empty where nothing has to be cured."""

    name: str
    state: State
    found: str
    cure: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-serialisable."""
        return asdict(self)


def checks(host: Host | None = None) -> tuple[Check, ...]:
    """Every check, in the order to read them; takes about two seconds where no hub answers."""
    machine = host or hardware.host()
    singles: tuple[Callable[[], Check], ...] = (
        lambda: cpu(machine),
        lambda: cores(machine),
        lambda: memory(machine),
        lambda: disk(_home()),
        lambda: gpu(machine),
        lambda: open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        lambda: noise(_cpu_ticks()),
        compiler,
        build_tools,
        llama_tools,
        tiny_model,
        hub,
    )
    return (*(single() for single in singles), *engine_checks())


def cpu(host: Host) -> Check:
    """The widest vector instructions, on which every engine's speed depends."""
    found = f"{host.cpu}; {', '.join(host.isa) or 'no known vector instructions'}"
    if host.machine not in ("x86_64", "AMD64"):
        return Check(name="cpu", state="ok", found=f"{found} ({host.machine})")
    if "avx2" not in host.isa:
        cure = "a CPU with AVX2: vLLM's CPU build does not start on this one"
        return Check(name="cpu", state="missing", found=found, cure=cure)
    if "avx512f" not in host.isa:
        cure = "none needed; with AVX-512 bfloat16 and INT8 would be faster"
        return Check(name="cpu", state="warning", found=found, cure=cure)
    return Check(name="cpu", state="ok", found=found)


def cores(host: Host) -> Check:
    """Server and load generator want cores of their own."""
    count, quota = len(host.core_groups), host.cpu_quota_cores
    found = f"{count} physical, {len(host.cores)} logical usable by this process"
    if quota is not None:
        found += f", limited to {quota:g} cores by the control group"
    if count < 2:
        cure = "two cores or more: on one, the load generator slows the server it measures"
        return Check(name="cores", state="warning", found=found, cure=cure)
    if quota is not None and quota < count:
        cure = "raise the limit: a throttled core stalls for tens of milliseconds"
        return Check(name="cores", state="warning", found=found, cure=cure)
    return Check(name="cores", state="ok", found=found)


def memory(host: Host) -> Check:
    """Room for the embedded model and its server."""
    if host.memory_bytes is None:
        return Check(name="memory", state="warning", found="unknown", cure="look at it yourself")
    found = f"{host.memory_bytes / GIB:.1f} GiB"
    if host.memory_bytes < ENOUGH_MEMORY_BYTES:
        cure = f"{ENOUGH_MEMORY_BYTES // GIB} GiB or more for vLLM"
        return Check(name="memory", state="warning", found=found, cure=cure)
    return Check(name="memory", state="ok", found=found)


def disk(folder: Path) -> Check:
    """Free space where artefacts and engines are kept."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    found = f"{free / GIB:.1f} GiB free for {folder}"
    if free < ENOUGH_DISK_BYTES:
        cure = "free some space, or point QUANTSWARM_HOME to a larger disk"
        return Check(name="disk", state="warning", found=found, cure=cure)
    return Check(name="disk", state="ok", found=found)


def gpu(host: Host) -> Check:
    """GPUs are never needed; their absence is said with its reason."""
    if not host.gpus:
        cure = "none needed; for CUDA: a GPU, its driver, then make setup"
        return Check(name="gpu", state="warning", found=host.no_gpu_reason, cure=cure)
    listed = "; ".join(
        f"{gpu.name}, {gpu.memory_bytes / GIB:.0f} GiB, capability {gpu.compute_capability}"
        for gpu in host.gpus
    )
    return Check(name="gpu", state="ok", found=f"{listed}; driver {host.gpus[0].driver}")


def open_files(limit: int) -> Check:
    """Every simulated user holds a socket on both sides."""
    if limit == resource.RLIM_INFINITY or limit >= ENOUGH_FILES:
        words = "unlimited" if limit == resource.RLIM_INFINITY else str(limit)
        return Check(name="open files", state="ok", found=words)
    cure = f"ulimit -n {ENOUGH_FILES} before large swarms"
    return Check(name="open files", state="warning", found=str(limit), cure=cure)


def noise(ticks: Mapping[str, int] | None) -> Check:
    """Share of the time, since this machine started, that its host gave to others."""
    total = sum(ticks.values()) if ticks else 0
    if not ticks or not total:
        return Check(name="noise", state="warning", found="unknown", cure="watch the report's A/A")
    load = os.getloadavg()[0]
    steal = ticks["steal"] / total
    found = f"steal {steal:.1%} since start, load {load:.1f} now"
    if steal > STEAL_LIMIT:
        cure = "a machine of your own; or repeat runs and compare medians"
        return Check(name="noise", state="warning", found=found, cure=cure)
    if load > 0.5 * (os.cpu_count() or 1):
        cure = "wait until the machine is idle before measuring"
        return Check(name="noise", state="warning", found=found, cure=cure)
    return Check(name="noise", state="ok", found=found)


def compiler() -> Check:
    """Only wanted to build llama.cpp."""
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        path = shutil.which(name) if name else None
        if path:
            return Check(name="compiler", state="ok", found=path)
    cure = "Debian, Ubuntu: apt install g++ (or set LLAMA_SERVER_BIN to a ready llama-server)"
    return Check(name="compiler", state="missing", found="no C++ compiler", cure=cure)


def build_tools() -> Check:
    """CMake and Ninja come with set-up where the system has none."""
    beside = Path(sys.executable).parent
    found = {
        name: shutil.which(name) or shutil.which(name, path=str(beside))
        for name in ("cmake", "ninja")
    }
    lacking = [name for name, path in found.items() if path is None]
    listed = ", ".join(f"{name} {path or 'absent'}" for name, path in found.items())
    if lacking:
        cure = "make setup installs them in .venv when llama.cpp has to be built"
        return Check(name="build tools", state="warning", found=listed, cure=cure)
    return Check(name="build tools", state="ok", found=listed)


def llama_tools() -> Check:
    """llama-quantize makes the GGUF artefacts below f16."""
    from quantswarm.engines.llamacpp import tools_folder

    folder = tools_folder()
    given = os.environ.get("LLAMA_QUANTIZE_BIN") or shutil.which("llama-quantize")
    quantize = given or folder / "llama-quantize"
    if Path(quantize).is_file():
        return Check(name="llama.cpp tools", state="ok", found=str(quantize))
    found = f"no llama-quantize in LLAMA_QUANTIZE_BIN, PATH or {folder}"
    return Check(name="llama.cpp tools", state="missing", found=found, cure="make setup")


def tiny_model() -> Check:
    """The embedded model is a part of the repository and of the package."""
    import quantswarm.models

    weights = Path(quantswarm.models.__path__[0]) / "tiny" / "model.safetensors"
    if weights.is_file():
        size = weights.stat().st_size / 1e6
        return Check(name="model tiny", state="ok", found=f"{weights} ({size:.1f} MB)")
    cure = "restore models/tiny from the repository"
    return Check(name="model tiny", state="missing", found=f"no {weights}", cure=cure)


def hub(timeout_s: float = 2.0) -> Check:
    """Only wanted for models that are neither embedded, synthetic nor local."""
    answer: queue.SimpleQueue[str] = queue.SimpleQueue()
    # In a thread: looking a name up has no time-out of its own.
    threading.Thread(target=_reach, args=(timeout_s, answer), daemon=True).start()
    try:
        problem = answer.get(timeout=2 * timeout_s)
    except queue.Empty:
        problem = "no answer in time"
    if not problem:
        return Check(name="model hub", state="ok", found=f"{HUB[0]} answers")
    cure = "tiny, synthetic/… and local models work without it"
    found = f"{HUB[0]} cannot be reached: {problem}"
    return Check(name="model hub", state="warning", found=found, cure=cure)


def _reach(timeout_s: float, answer: queue.SimpleQueue[str]) -> None:
    try:
        socket.create_connection(HUB, timeout=timeout_s).close()
        answer.put("")
    except OSError as error:
        answer.put(str(error))


def engine_checks() -> tuple[Check, ...]:
    """One check an engine, from its own probe."""
    found = []
    for name, engine in engines().items():
        probe = engine.probe()
        words = " ".join(
            filter(None, (probe.version, f"on {probe.device}" if probe.device else ""))
        )
        state: State = "ok" if probe.available else "missing"
        said = words if probe.available else probe.reason
        found.append(
            Check(name=f"engine {name}", state=state, found=said or "ready", cure=probe.cure)
        )
    return tuple(found)


def _home() -> Path:
    from quantswarm.models.store import home

    return home()


def _cpu_ticks() -> Mapping[str, int] | None:
    """Clock ticks of all cores since start, by kind."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
        return dict(zip(names, map(int, first[1:9]), strict=True))
    except (OSError, ValueError, IndexError):
        return None
