"""NVML without a GPU: the functions that quantswarm asks, with numbers that a test decides."""

# ruff: noqa: N802 - the names are NVML's

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

GIB = 1024**3


class NVMLError(Exception):
    """As pynvml's: what a driver or a GPU refuses."""


def gpu(**changed: Any) -> dict[str, Any]:
    """One GPU; a value of None is refused as "not supported"."""
    return {
        "utilization": SimpleNamespace(gpu=87, memory=41),
        "used": 20 * GIB,
        "milliwatts": 412_345,
        "millijoules": 9_000_500,
        "clocks": {1: 1980, 2: 2619},
        "celsius": 61,
        "reasons": 0x04 | 0x20,
        "processes": [(4242, 19 * GIB)],
        "persistence": 1,
        "mig": [0, 0],
        "compute_mode": 0,
        "ecc": [1, 1],
        "limit_milliwatts": 700_000,
        "most": {1: 1980, 2: 3201},
    } | changed


class FakeNvml:
    """What `import pynvml` would give; `gpus` may be changed while it is in use."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, *gpus: dict[str, Any], broken: str = "") -> None:
        self.gpus = list(gpus)
        self.broken = broken
        self.opened = 0
        self.on_memory: Callable[[], None] = lambda: None
        self.asked: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml"):
            object.__getattribute__(self, "asked").add(name)
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None:
        if self.broken == "nvmlInit":
            raise NVMLError("Driver Not Loaded")
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:
        if self.broken == "nvmlDeviceGetCount":
            raise NVMLError("GPU is lost")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def _told(self, handle: int, key: str) -> Any:
        value = self.gpus[handle].get(key)
        if value is None:
            raise NVMLError("Not Supported")
        return value

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return self._told(handle, "utilization")

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        self.on_memory()
        return SimpleNamespace(used=self._told(handle, "used"))

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return int(self._told(handle, "milliwatts"))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return int(self._told(handle, "millijoules"))

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:
        return int(self._told(handle, "clocks")[kind])

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return int(self._told(handle, "celsius"))

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: int) -> int:
        return int(self._told(handle, "reasons"))

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        listed = self._told(handle, "processes")
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in listed]

    def nvmlDeviceGetPersistenceMode(self, handle: int) -> int:
        return int(self._told(handle, "persistence"))

    def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:
        return list(self._told(handle, "mig"))

    def nvmlDeviceGetComputeMode(self, handle: int) -> int:
        return int(self._told(handle, "compute_mode"))

    def nvmlDeviceGetEccMode(self, handle: int) -> list[int]:
        return list(self._told(handle, "ecc"))

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return int(self._told(handle, "limit_milliwatts"))

    def nvmlDeviceGetMaxClockInfo(self, handle: int, kind: int) -> int:
        return int(self._told(handle, "most")[kind])
