"""Counters of the machine: each core's work, time stolen by its host, throttling, CPU energy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_KINDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_BUSY = ("user", "nice", "system", "irq", "softirq")
_POWERCAP = Path("sys/class/powercap")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSeconds:
    """One logical core since the machine's start: seconds of work, and seconds it wanted to work
    while the hypervisor ran others."""

    core: int
    busy_s: float
    steal_s: float


def core_seconds(cores: Iterable[int], root: Path = Path("/")) -> tuple[CoreSeconds, ...]:
    """The named cores, in order; a core that the kernel does not list is left out."""
    text = _text(root / "proc/stat") or ""
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    lines = (line.split() for line in text.splitlines() if line.startswith("cpu"))
    listed = {words[0]: words[1:] for words in lines}
    found = []
    for core in cores:
        ticks = dict(zip(_KINDS, map(int, listed.get(f"cpu{core}", ())), strict=False))
        if len(ticks) == len(_KINDS):
            busy = sum(ticks[kind] for kind in _BUSY)
            found.append(
                CoreSeconds(
                    core=core,
                    busy_s=round(busy * tick_s, 2),
                    steal_s=round(ticks["steal"] * tick_s, 2),
                )
            )
    return tuple(found)


def throttled_s(root: Path = Path("/")) -> float | None:
    """Seconds that this process's control group had to wait for its CPU quota; None unknown."""
    for folder in _control_groups(root):
        text = _text(folder / "cpu.stat")
        counts = dict(line.split() for line in (text or "").splitlines() if line.count(" ") == 1)
        if "throttled_usec" in counts:
            return int(counts["throttled_usec"]) / 1e6
        if "throttled_time" in counts:
            return int(counts["throttled_time"]) / 1e9
    return None


def _control_groups(root: Path) -> list[Path]:
    """Version 2's folder, then version 1's; the mounted root last, as containers see theirs."""
    mounted = root / "sys/fs/cgroup"
    found: list[Path] = []
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, kinds, path = line.split(":", 2)
        inner = path.lstrip("/")
        if not kinds:
            found.append(mounted / inner)
        elif "cpu" in kinds.split(","):
            found += [mounted / kinds / inner, mounted / "cpu" / inner]
    return [*found, mounted, mounted / "cpu"]


class PackageEnergy:
    """Energy of all CPU packages by RAPL, as the kernel's powercap gives it (AMD's too).

    `reason` says why there is none, and is empty otherwise; most systems let only root read it.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        zones = sorted((root / _POWERCAP).glob("intel-rapl:*"))
        packages = [zone for zone in zones if zone.name.count(":") == 1 and _is_package(zone)]
        self._last = {zone: uj for zone in packages if (uj := _microjoules(zone)) is not None}
        self._range = {zone: _number(zone / "max_energy_range_uj") for zone in self._last}
        self._total_uj = 0
        self.reason = _why_none(packages, self._last)

    def joules(self) -> float | None:
        """Joules since this object was made, over all packages; None without RAPL.

        Must be asked more often than a counter wraps (a minute on large machines, at the least).
        """
        if self.reason:
            return None
        for zone, before in self._last.items():
            now = _microjoules(zone)
            if now is None:
                self.reason = f"{zone.name} can no longer be read"
                return None
            wrapped = self._range[zone] or 0
            self._total_uj += now - before if now >= before else now + wrapped - before
            self._last[zone] = now
        return self._total_uj / 1e6


def _is_package(zone: Path) -> bool:
    return (_text(zone / "name") or "").strip().startswith("package")


def _microjoules(zone: Path) -> int | None:
    return _number(zone / "energy_uj")


def _why_none(packages: list[Path], read: Mapping[Path, int]) -> str:
    if not packages:
        return "no RAPL: /sys/class/powercap lists no CPU package (usual in virtual machines)"
    if len(read) < len(packages):
        return "RAPL's energy_uj cannot be read: most systems let only root"
    return ""


def _number(path: Path) -> int | None:
    text = (_text(path) or "").strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
