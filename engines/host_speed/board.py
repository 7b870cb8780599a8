"""A GPU's memory bandwidth by its data sheet: memory clock × width of the bus, as NVML tells them.

No program reaches it, so it bounds a measured figure from above. Memory of GPUs moves data on both
edges of the clock that NVML gives, hence the factor of two.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

EDGES = 2


def board_gb_s(
    index: int = 0, load: Callable[[], Any] = lambda: importlib.import_module("pynvml")
) -> float | None:
    """GB/s of one GPU; None without NVML, or where it does not tell. Never raises."""
    try:
        nvml = load()
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        mhz = nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM)
        bits = nvml.nvmlDeviceGetMemoryBusWidth(handle)
    except (nvml.NVMLError, AttributeError):
        return None
    finally:
        nvml.nvmlShutdown()
    return float(mhz * 1e6 * EDGES * bits / 8 / 1e9)
