"""GPUs through NVML, with a made-up one; and the real library where there is no driver."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import asdict

import pytest
from fake_nvml import GIB, FakeNvml, gpu

from quantswarm.engines.gpu import NO_GPU, NO_LIBRARY, REASONS, ComputeProcess, Gpus

CLOCKS = "nvmlDeviceGetCurrentClocks"


def opened(*gpus, **options):
    nvml = FakeNvml(*gpus, **options)
    return Gpus.opened(lambda: nvml), nvml


def test_everything_that_a_gpu_tells_in_our_units():
    gpus, _ = opened(gpu())
    (reading,) = gpus.read([4242])
    assert asdict(reading) == {
        "gpu": 0,
        "utilization": 0.87,
        "memory_utilization": 0.41,
        "used_bytes": 20 * GIB,
        "tree_bytes": 19 * GIB,
        "power_w": 412.345,
        "sm_mhz": 1980,
        "memory_mhz": 2619,
        "temperature_c": 61,
        "throttle": ("sw_power_cap", "sw_thermal"),
        "energy_j": 9000.5,
    }


SETTINGS = {
    "persistence": {"persistence"},
    "mig": {"mig"},
    "compute_mode": {"compute_mode"},
    "ecc": {"ecc"},
    "limit_milliwatts": {"power_limit_w"},
    "most": {"most_sm_mhz", "most_memory_mhz"},
}


def test_how_a_gpu_is_set_up_is_told_in_our_units():
    gpus, _ = opened(gpu(persistence=0, mig=[1, 0]))
    (found,) = gpus.settings()
    assert asdict(found) == {
        "gpu": 0,
        "persistence": False,
        "mig": True,
        "compute_mode": 0,
        "ecc": True,
        "power_limit_w": 700.0,
        "most_sm_mhz": 1980,
        "most_memory_mhz": 3201,
    }


@pytest.mark.parametrize("key", sorted(SETTINGS))
def test_a_setting_that_a_gpu_does_not_tell_is_none_and_the_rest_stands(key):
    gpus, _ = opened(gpu(**{key: None}))
    (found,) = gpus.settings()
    assert {name for name, value in asdict(found).items() if value is None} == SETTINGS[key]


def test_a_gpu_is_asked_and_never_set():
    gpus, nvml = opened(gpu())
    gpus.read([4242])
    gpus.settings()
    gpus.processes()
    gpus.close()
    assert len(nvml.asked) > 12
    assert [
        name for name in nvml.asked if not re.match("nvml(Init|Shutdown|DeviceGet)", name)
    ] == []


@pytest.mark.parametrize("key", sorted(set(gpu()) - set(SETTINGS)))
def test_what_a_gpu_does_not_tell_is_none_and_the_rest_stands(key):
    gpus, _ = opened(gpu(**{key: None}))
    (reading,) = gpus.read([4242])
    fields = asdict(reading)
    lacking = {name for name, value in fields.items() if value is None}
    assert lacking
    assert (
        lacking
        <= {
            "utilization": {"utilization", "memory_utilization"},
            "used": {"used_bytes"},
            "milliwatts": {"power_w"},
            "millijoules": {"energy_j"},
            "clocks": {"sm_mhz", "memory_mhz"},
            "celsius": {"temperature_c"},
            "reasons": {"throttle"},
            "processes": {"tree_bytes"},
        }[key]
    )


def test_a_function_that_an_older_library_lacks_is_absence_too():
    class Old(FakeNvml):
        def __getattribute__(self, name):
            if name in ("nvmlDeviceGetTotalEnergyConsumption", f"{CLOCKS}EventReasons"):
                raise AttributeError(name)
            return (
                (lambda _: 0x08)
                if name == f"{CLOCKS}ThrottleReasons"
                else super().__getattribute__(name)
            )

    gpus = Gpus.opened(lambda: Old(gpu()))
    (reading,) = gpus.read()
    assert reading.energy_j is None
    assert reading.throttle == ("hw_slowdown",)


def test_no_reason_is_an_empty_list_and_not_absence():
    gpus, _ = opened(gpu(reasons=0))
    assert gpus.read()[0].throttle == ()


def test_memory_of_processes_that_are_not_asked_for_is_not_the_trees():
    gpus, _ = opened(gpu(processes=[(1, 5), (2, 7), (3, None)]))
    assert gpus.read([1, 3])[0].tree_bytes == 5
    assert gpus.read([3])[0].tree_bytes is None
    assert gpus.read([9])[0].tree_bytes is None
    assert [p.pid for p in gpus.processes()] == [1, 2, 3]
    assert gpus.processes()[2] == ComputeProcess(gpu=0, pid=3, used_bytes=None)


def test_two_gpus_are_told_apart():
    gpus, _ = opened(gpu(), gpu(used=5, processes=[]))
    assert [reading.gpu for reading in gpus.read()] == [0, 1]
    assert gpus.used_bytes() == (20 * GIB, 5)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"broken": "nvmlInit"}, "NVML: Driver Not Loaded"),
        ({"broken": "nvmlDeviceGetCount"}, "NVML: GPU is lost"),
        ({}, NO_GPU),
    ],
)
def test_no_gpu_has_a_reason_and_reads_as_nothing(options, reason):
    gpus, nvml = opened(**options)
    assert gpus.reason == reason
    assert gpus.read([1]) == gpus.processes() == gpus.used_bytes() == ()
    gpus.close()
    gpus.close()
    assert nvml.opened == 0


def test_without_the_library_the_reason_says_so():
    def absent():
        raise ImportError("No module named 'pynvml'")

    assert Gpus.opened(absent).reason == NO_LIBRARY


def test_the_library_is_not_imported_with_the_module():
    code = (
        "import sys; import quantswarm.engines.telemetry, quantswarm.engines.gpu_vacancy; "
        "assert 'pynvml' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_pinned_library_has_every_name_that_is_asked_for():
    pynvml = pytest.importorskip("pynvml")
    asked = [name for name in dir(FakeNvml) if name.lower().startswith("nvml")]
    assert not [name for name in asked if not hasattr(pynvml, name)]
    assert issubclass(pynvml.NVMLError, Exception)
    bits = {
        getattr(pynvml, name): name
        for name in dir(pynvml)
        if name.startswith("nvmlClocksEventReason") and not name.endswith(("None", "All"))
    }
    assert set(bits) == set(REASONS)


def test_on_this_machine_there_are_gpus_or_a_reason():
    gpus = Gpus.opened()
    assert bool(gpus.read()) != bool(gpus.reason)
    gpus.close()
