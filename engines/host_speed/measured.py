"""The machine's figures: from `$QUANTSWARM_HOME` where they are known and fresh, else measured.

They are kept by what decides them: processor, cores, threads, GPU and torch. An unmeasurable host
gives figures without numbers and the reason, which are not kept.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from quantswarm.engines.hardware import Host
from quantswarm.engines.host_speed.board import board_gb_s
from quantswarm.engines.host_speed.child import Request
from quantswarm.engines.host_speed.figures import HostSpeed, from_json
from quantswarm.models.space import available_memory_bytes
from quantswarm.models.store import home

MIB = 2**20
SIZES = (2 * MIB, 8 * MIB, 32 * MIB, 128 * MIB, 512 * MIB)
"""Buffers on a CPU: from what its own caches hold to what none holds."""
GPU_SIZES = (128 * MIB, 512 * MIB, 2048 * MIB)
FRESH = timedelta(days=30)
BUDGET_S = 0.15
TIMEOUT_S = 120
_LAYOUT = 1
"""Part of every key: raise it when the way of measuring changes."""

Ask = Callable[[Request], dict[str, Any]]
Say = Callable[[str], None]


def host_speed(
    host: Host,
    *,
    cores: Sequence[int],
    threads: int,
    device: str = "cpu",
    since: datetime | None = None,
    say: Say | None = None,
    ask: Ask | None = None,
) -> HostSpeed:
    """What `threads` threads on these cores, or the GPU, can do; takes seconds the first time.

    Figures from before `since` are taken again. `ask` runs a request; a test gives its own.
    """
    place = home() / "host-speed" / f"{_key(host, cores, threads, device)}.json"
    known = _known(place, since)
    if known is not None:
        return known
    if say is not None:
        say("measuring this machine's memory bandwidth and arithmetic rate (a few seconds, kept)")
    request = _request(host, cores, threads, device)
    found = _measured(request, ask or in_child)
    if not found.reason:
        _keep(place, found)
    return found


def in_child(request: Request) -> dict[str, Any]:
    """The child's answer; a dict with a `reason` where it has none."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(request.threads)}
    argv = [sys.executable, "-m", "quantswarm.engines.host_speed.child"]
    try:
        done = subprocess.run(
            [*argv, json.dumps(asdict(request))],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"reason": f"the measuring process did not end well: {error}"}
    try:
        answer = json.loads(done.stdout)
        return dict(answer)
    except (ValueError, TypeError):
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return {"reason": f"the measuring process failed: {last[0]}"}


def _request(host: Host, cores: Sequence[int], threads: int, device: str) -> Request:
    """Buffers of at most a quarter of the memory that is free, and of what we may have at all."""
    limits = [limit for limit in (available_memory_bytes(), host.memory_bytes) if limit is not None]
    room = min(limits, default=None)
    sizes = GPU_SIZES if device == "cuda" else SIZES
    fitting = [size for size in sizes if room is None or size <= room // 4]
    return Request(
        device=device,
        cores=tuple(cores),
        threads=threads,
        sizes=tuple(fitting or sizes[:1]),
        budget_s=BUDGET_S,
    )


def _measured(request: Request, ask: Ask) -> HostSpeed:
    empty = HostSpeed(device=request.device, cores=request.cores, threads=request.threads)
    answer = ask(request)
    if "reason" in answer:
        return replace(empty, reason=str(answer["reason"]))
    told = {**empty.as_json(), **answer, "measured_utc": _now().isoformat()}
    try:
        found = from_json(told)
    except (KeyError, TypeError, ValueError) as error:
        return replace(empty, reason=f"the measuring process answered otherwise: {error}")
    return replace(found, board_gb_s=board_gb_s() if request.device == "cuda" else None)


def _known(place: Path, since: datetime | None) -> HostSpeed | None:
    """What the file holds, None where it is missing, unreadable, stale or from before `since`."""
    try:
        found = from_json(json.loads(place.read_text(encoding="utf-8")))
        measured = datetime.fromisoformat(str(found.measured_utc))
    except (OSError, KeyError, TypeError, ValueError):
        return None
    fresh = timedelta() <= _now() - measured < FRESH
    return found if fresh and (since is None or measured >= since) else None


def _keep(place: Path, found: HostSpeed) -> None:
    """In one step, so that another process reads all or nothing."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=place.parent, prefix=f".{place.name}.", delete=False, encoding="utf-8"
    ) as out:
        json.dump(found.as_json(), out, indent=1)
    Path(out.name).replace(place)


def _key(host: Host, cores: Sequence[int], threads: int, device: str) -> str:
    gpus = [(gpu.name, gpu.driver) for gpu in host.gpus] if device == "cuda" else []
    facts = [_LAYOUT, host.cpu, host.isa, host.memory_bytes, host.cpu_quota_cores, list(cores)]
    text = json.dumps([*facts, threads, device, gpus, _torch_version()])
    return f"{device}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _torch_version() -> str | None:
    """By package metadata: importing it takes seconds."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def _now() -> datetime:
    return datetime.now(UTC)
