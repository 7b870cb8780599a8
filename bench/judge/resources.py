"""What the window cost, from `samples.jsonl`: processors, memory, GPUs and energy."""

from __future__ import annotations

import itertools
import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench.judge.window import Window

FILE = "samples.jsonl"
SLOWED = frozenset({"sw_power_cap", "hw_slowdown", "sw_thermal", "hw_thermal", "hw_power_brake"})
"""Reasons that hold a busy GPU's clocks down; the others are chosen, or mean that it is idle."""

Sample = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The window alone. Each is None where nothing was sampled, or the machine does not tell.

    `_cpu` values are in cores (1.5: one and a half were busy); `core_busy` and `core_steal` are
    shares of each logical core's time. GPU values are means over time of the sum over GPUs, but
    for shares, clocks and temperature: those of the busiest, slowest, hottest one.
    """

    samples: int
    server_cpu_mean: float | None
    server_cpu_max: float | None
    generator_cpu_mean: float | None
    watcher_cpu_mean: float | None
    core_busy: Mapping[str, float]
    core_steal: Mapping[str, float]
    throttled_share: float | None
    major_faults: float | None
    pss_max_bytes: int | None
    cpu_package_joules: float | None
    gpu_utilization_mean: float | None
    gpu_memory_max_bytes: int | None
    gpu_power_mean_w: float | None
    gpu_power_max_w: float | None
    gpu_joules: float | None
    gpu_sm_min_mhz: int | None
    gpu_temperature_max_c: int | None
    gpu_slowed_share: float | None
    gpu_slowed_by: Sequence[str]

    @property
    def steal_share(self) -> float | None:
        """Of the time of all cores, the part that the hypervisor gave to others."""
        return _average(list(self.core_steal.values()))

    def as_json(self) -> dict[str, Any]:
        """The form that summaries store."""
        return {**asdict(self), "steal_share": self.steal_share}


def read_samples(path: Path) -> tuple[Sample, ...]:
    """In order of time; empty without the file. A line that cannot be read is passed over."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(sorted(_objects(lines), key=lambda sample: sample["ns"]))


def resources(samples: Sequence[Sample], window: Window) -> Resources | None:
    """None for a cell without samples."""
    if not samples:
        return None
    inside = [sample for sample in samples if window.holds(sample["ns"])]
    gpus = [gpu for sample in inside for gpu in sample.get("gpus") or ()]
    told = [gpu["throttle"] for gpu in gpus if gpu.get("throttle") is not None]
    slow = Counter(reason for reasons in told for reason in SLOWED.intersection(reasons))
    powers = [power for sample in inside if (power := _power_w(sample)) is not None]
    return Resources(
        samples=len(inside),
        server_cpu_mean=_rate(_points(samples, _number("cpu_s")), window),
        server_cpu_max=_fastest(_points(inside, _number("cpu_s"))),
        generator_cpu_mean=_rate(_points(samples, _number("generator_cpu_s")), window),
        watcher_cpu_mean=_rate(_points(samples, _number("watcher_cpu_s")), window),
        core_busy=_by_core(samples, window, "busy_s"),
        core_steal=_by_core(samples, window, "steal_s"),
        throttled_share=_rate(_points(samples, _number("throttled_s")), window),
        major_faults=_growth(_points(samples, _number("major_faults")), window),
        pss_max_bytes=_most(inside, "pss_bytes"),
        cpu_package_joules=_growth(_points(samples, _number("cpu_package_joules")), window),
        gpu_utilization_mean=_average(_each(inside, lambda s: _most(_gpus(s), "utilization"))),
        gpu_memory_max_bytes=max(
            _each(inside, lambda s: _sum(_gpus(s), "used_bytes")), default=None
        ),
        gpu_power_mean_w=_average(powers),
        gpu_power_max_w=max(powers, default=None),
        gpu_joules=_growth(_points(samples, lambda s: _sum(_gpus(s), "energy_j")), window),
        gpu_sm_min_mhz=min((gpu["sm_mhz"] for gpu in gpus if gpu.get("sm_mhz")), default=None),
        gpu_temperature_max_c=_most(gpus, "temperature_c"),
        gpu_slowed_share=sum(bool(SLOWED.intersection(r)) for r in told) / len(told)
        if told
        else None,
        gpu_slowed_by=[reason for reason, _ in sorted(slow.items(), key=lambda item: -item[1])],
    )


def _objects(lines: Sequence[str]) -> Iterator[Sample]:
    for line in lines:
        try:
            raw = json.loads(line)
        except ValueError:
            continue
        if isinstance(raw, dict) and type(raw.get("ns")) is int:
            yield raw


def _number(key: str) -> Callable[[Sample], float | None]:
    return lambda sample: sample.get(key)


def _gpus(sample: Sample) -> list[Sample]:
    return list(sample.get("gpus") or ())


def _power_w(sample: Sample) -> float | None:
    found: float | None = _sum(_gpus(sample), "power_w")
    return found


def _sum(found: Sequence[Sample], key: str) -> Any:
    """None unless every one tells: a sum of some would be taken for the sum of all."""
    values = [one.get(key) for one in found]
    return sum(values) if values and None not in values else None


def _most(found: Sequence[Sample], key: str) -> Any:
    return max((one[key] for one in found if one.get(key) is not None), default=None)


def _each(found: Sequence[Sample], of: Callable[[Sample], Any]) -> list[Any]:
    return [value for sample in found if (value := of(sample)) is not None]


def _average(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _points(
    samples: Sequence[Sample], of: Callable[[Sample], float | None]
) -> list[tuple[int, float]]:
    return [(s["ns"], value) for s in samples if (value := of(s)) is not None]


def _growth(points: Sequence[tuple[int, float]], window: Window) -> float | None:
    """By how much a counter rose in the window, its value at both ends interpolated between the
    samples around them; None where samples do not reach over both ends, or the counter fell."""
    first, last = _at(points, window.start_ns), _at(points, window.end_ns)
    if first is None or last is None or last < first:
        return None
    return last - first


def _at(points: Sequence[tuple[int, float]], ns: int) -> float | None:
    after = bisect_left(points, ns, key=lambda point: point[0])
    if after == len(points) or (after == 0 and points[0][0] > ns):
        return None
    (t0, v0), (t1, v1) = points[max(after - 1, 0)], points[after]
    return v0 + (v1 - v0) * ((ns - t0) / (t1 - t0) if t1 > t0 else 0.0)


def _rate(points: Sequence[tuple[int, float]], window: Window) -> float | None:
    grown = _growth(points, window)
    return None if grown is None else grown / window.length_s


def _fastest(points: Sequence[tuple[int, float]]) -> float | None:
    """The largest rate between two neighbouring samples."""
    pairs = itertools.pairwise(points)
    return max(((b - a) / (t1 - t0) * 1e9 for (t0, a), (t1, b) in pairs if t1 > t0), default=None)


def _by_core(samples: Sequence[Sample], window: Window, key: str) -> dict[str, float]:
    """Core → share of its time; no more than all of it, which a late reading could seem to say."""
    points: dict[str, list[tuple[int, float]]] = {}
    for sample in samples:
        for core in sample.get("cores") or ():
            points.setdefault(str(core["core"]), []).append((sample["ns"], core[key]))
    shares = {core: _rate(found, window) for core, found in points.items()}
    return {core: min(share, 1.0) for core, share in shares.items() if share is not None}
