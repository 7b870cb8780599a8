"""The host as /proc and NVML tell it, from faked ones."""

from __future__ import annotations

import json

import pytest

from quantswarm.engines.hardware import Gpu, Readers, gpus_or_reason, host

CPUINFO = """processor\t: 0
model name\t: Fast CPU
flags\t\t: fpu avx avx2 avx512f avx512_bf16 amx_tile nonsense

processor\t: 1
model name\t: Fast CPU
"""
GPU = Gpu(index=0, name="G", memory_bytes=5, driver="1", compute_capability="9.0")


def readers(files, cores=(0, 1), gpus=lambda: ()):
    return Readers(read=lambda path: files.get(str(path)), affinity=lambda: cores, gpus=gpus)


def sibling(core):
    return f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"


def test_facts_of_a_host():
    files = {
        "/proc/cpuinfo": CPUINFO,
        "/proc/meminfo": "MemTotal:  1000 kB\nMemFree: 1 kB\n",
        "/sys/fs/cgroup/cpu.max": "150000 100000\n",
        "/sys/fs/cgroup/memory.max": "512000\n",
        **{sibling(core): f"{core % 2},{core % 2 + 2}" for core in range(4)},
    }
    seen = host(readers(files, cores=(3, 0, 1, 2)))
    assert seen.cpu == "Fast CPU"
    assert seen.isa == ("avx", "avx2", "avx512f", "avx512_bf16", "amx_tile")
    assert seen.cores == (0, 1, 2, 3)
    assert seen.core_groups == ((0, 2), (1, 3))
    assert seen.memory_bytes == 512000
    assert seen.cpu_quota_cores == 1.5
    assert json.loads(json.dumps(seen.as_dict()))["cpu"] == "Fast CPU"


def test_what_is_not_told_is_absent():
    seen = host(readers({"/sys/fs/cgroup/cpu.max": "max 100000"}, cores=(5,)))
    assert seen.isa == ()
    assert seen.core_groups == ((5,),)
    assert seen.memory_bytes is None
    assert seen.cpu_quota_cores is None


@pytest.mark.parametrize(
    ("error", "words"),
    [(ImportError(), "not installed"), (RuntimeError("driver missing"), "NVML: driver missing")],
)
def test_no_gpu_has_a_reason(error, words):
    def fail():
        raise error

    gpus, reason = gpus_or_reason(readers({}, gpus=fail))
    assert gpus == ()
    assert words in reason


def test_gpus_are_listed():
    seen = host(readers({}, gpus=lambda: (GPU,)))
    assert seen.gpus == (GPU,)
    assert seen.no_gpu_reason == ""
    assert "no GPU" in gpus_or_reason(readers({}))[1]


def test_this_machine_can_be_read():
    seen = host()
    assert seen.cores
    assert seen.kernel
    assert bool(seen.gpus) != bool(seen.no_gpu_reason)
