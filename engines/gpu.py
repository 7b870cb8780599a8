"""What the GPUs do, through NVML; without its library, a driver or a GPU, the reason why nothing.

`pynvml` (the package nvidia-ml-py) is imported when GPUs are opened and never before. Whatever one
GPU or driver does not tell is None: MIG slices have no utilisation, old boards no energy counter.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Self

NO_LIBRARY = "nvidia-ml-py is not installed, so no GPU can be asked for"
NO_GPU = "NVML answers and lists no GPU"

REASONS = {
    0x01: "gpu_idle",
    0x02: "application_clocks",
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal",
    0x40: "hw_thermal",
    0x80: "hw_power_brake",
    0x100: "display_clock",
}
"""Bits of NVML's "clocks event reasons": why the clocks are what they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One GPU at one instant; shares are 0 to 1, `energy_j` counts from the driver's start.

    `tree_bytes` is what the asked processes hold, None also where NVML hides them (a container
    with process ids of its own). `throttle` names every reason that NVML gives, "gpu_idle" too.
    """

    gpu: int
    utilization: float | None
    memory_utilization: float | None
    used_bytes: int | None
    tree_bytes: int | None
    power_w: float | None
    sm_mhz: int | None
    memory_mhz: int | None
    temperature_c: int | None
    throttle: tuple[str, ...] | None
    energy_j: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSettings:
    """How one GPU is set up; these are read and never changed. None: it does not tell.

    `power_limit_w` and the highest clocks bound its speed; `compute_mode` is NVML's number (0: any
    number of processes). With `mig` on, a slice is measured, not the GPU.
    """

    gpu: int
    persistence: bool | None
    mig: bool | None
    compute_mode: int | None
    ecc: bool | None
    power_limit_w: float | None
    most_sm_mhz: int | None
    most_memory_mhz: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeProcess:
    """A process that holds a compute context on a GPU; `used_bytes` None where NVML hides it."""

    gpu: int
    pid: int
    used_bytes: int | None


class Gpus:
    """All GPUs of this machine; `reason` says why there are none, and is empty otherwise.

    `nvml` is the module `pynvml`, or what a test puts in its place.
    """

    def __init__(self, nvml: Any, handles: tuple[Any, ...], reason: str) -> None:
        self._nvml = nvml
        self._handles = handles
        self.reason = reason

    @classmethod
    def opened(cls, load: Callable[[], Any] = lambda: importlib.import_module("pynvml")) -> Self:
        """Ask NVML for its GPUs; never raises."""
        try:
            nvml = load()
        except ImportError:
            return cls(None, (), NO_LIBRARY)
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            return cls(None, (), f"NVML: {error}")
        try:
            count = nvml.nvmlDeviceGetCount()
            handles = tuple(nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count))
        except nvml.NVMLError as error:
            nvml.nvmlShutdown()
            return cls(None, (), f"NVML: {error}")
        return cls(nvml, handles, "" if handles else NO_GPU)

    def close(self) -> None:
        """Let NVML go; safe to call twice."""
        if self._nvml is not None:
            self._nvml.nvmlShutdown()
        self._nvml, self._handles = None, ()

    def read(self, pids: Collection[int] = ()) -> tuple[GpuReading, ...]:
        """Every GPU now; `pids` are the processes whose memory is `tree_bytes`."""
        return tuple(self._reading(index, pids) for index in range(len(self._handles)))

    def settings(self) -> tuple[GpuSettings, ...]:
        """How every GPU is set up, for manifests."""
        return tuple(self._settings(index) for index in range(len(self._handles)))

    def processes(self) -> tuple[ComputeProcess, ...]:
        """Every process with a compute context that NVML shows, on any GPU."""
        return tuple(p for index in range(len(self._handles)) for p in self._processes(index))

    def used_bytes(self) -> tuple[int | None, ...]:
        """Memory in use on each GPU, whoever holds it."""
        return tuple(self._number(handle, "nvmlDeviceGetMemoryInfo") for handle in self._handles)

    def _reading(self, index: int, pids: Collection[int]) -> GpuReading:
        handle = self._handles[index]
        rates = self._ask("nvmlDeviceGetUtilizationRates", handle)
        milliwatts = self._ask("nvmlDeviceGetPowerUsage", handle)
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption", handle)
        return GpuReading(
            gpu=index,
            utilization=None if rates is None else rates.gpu / 100,
            memory_utilization=None if rates is None else rates.memory / 100,
            used_bytes=self._number(handle, "nvmlDeviceGetMemoryInfo"),
            tree_bytes=self._held_by(index, pids),
            power_w=None if milliwatts is None else milliwatts / 1e3,
            sm_mhz=self._clock(handle, "NVML_CLOCK_SM"),
            memory_mhz=self._clock(handle, "NVML_CLOCK_MEM"),
            temperature_c=self._temperature(handle),
            throttle=self._throttle(handle),
            energy_j=None if millijoules is None else millijoules / 1e3,
        )

    def _settings(self, index: int) -> GpuSettings:
        handle = self._handles[index]
        limit = self._ask("nvmlDeviceGetEnforcedPowerLimit", handle)
        mode = self._ask("nvmlDeviceGetComputeMode", handle)
        return GpuSettings(
            gpu=index,
            persistence=_switch(self._ask("nvmlDeviceGetPersistenceMode", handle)),
            mig=_first_switch(self._ask("nvmlDeviceGetMigMode", handle)),
            compute_mode=None if mode is None else int(mode),
            ecc=_first_switch(self._ask("nvmlDeviceGetEccMode", handle)),
            power_limit_w=None if limit is None else limit / 1e3,
            most_sm_mhz=self._clock(handle, "NVML_CLOCK_SM", "nvmlDeviceGetMaxClockInfo"),
            most_memory_mhz=self._clock(handle, "NVML_CLOCK_MEM", "nvmlDeviceGetMaxClockInfo"),
        )

    def _ask(self, function: str, *arguments: Any) -> Any:
        """The answer, or None where this library, driver or GPU has none."""
        try:
            return getattr(self._nvml, function)(*arguments)
        except (self._nvml.NVMLError, AttributeError):
            return None

    def _number(self, handle: Any, function: str) -> int | None:
        found = self._ask(function, handle)
        return None if found is None else int(found.used)

    def _clock(
        self, handle: Any, kind: str, function: str = "nvmlDeviceGetClockInfo"
    ) -> int | None:
        found = self._ask(function, handle, getattr(self._nvml, kind))
        return None if found is None else int(found)

    def _temperature(self, handle: Any) -> int | None:
        found = self._ask("nvmlDeviceGetTemperature", handle, self._nvml.NVML_TEMPERATURE_GPU)
        return None if found is None else int(found)

    def _throttle(self, handle: Any) -> tuple[str, ...] | None:
        """By the newer name, or by the one that drivers before 535 know."""
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
        if bits is None:
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        if bits is None:
            return None
        return tuple(name for bit, name in REASONS.items() if bits & bit)

    def _held_by(self, index: int, pids: Collection[int]) -> int | None:
        held = [p.used_bytes for p in self._processes(index) if p.pid in pids]
        known = [size for size in held if size is not None]
        return sum(known) if known else None

    def _processes(self, index: int) -> Iterator[ComputeProcess]:
        entries = self._ask("nvmlDeviceGetComputeRunningProcesses", self._handles[index])
        for entry in entries or ():
            size = entry.usedGpuMemory
            yield ComputeProcess(
                gpu=index, pid=int(entry.pid), used_bytes=None if size is None else int(size)
            )


def _switch(told: Any) -> bool | None:
    return None if told is None else bool(told)


def _first_switch(told: Any) -> bool | None:
    """Of (now, after the next start), what is now."""
    return None if told is None else bool(told[0])
