"""The GPU must be ours alone, and empty again before the next server."""

from __future__ import annotations

import pytest
from fake_nvml import GIB, FakeNvml, gpu

from quantswarm.engines.gpu import Gpus
from quantswarm.engines.gpu_vacancy import LEFT_BYTES, Vacancy, others, vacancy
from quantswarm.models.errors import RunFailed

EMPTY = {"used": 3 * GIB, "processes": []}


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def watched(nvml: FakeNvml, clock: Clock) -> Vacancy:
    gpus = Gpus.opened(lambda: nvml)
    made = vacancy(gpus)
    return Vacancy(
        gpus=gpus,
        baseline_bytes=made.baseline_bytes,
        patience_s=10,
        clock=clock,
        sleep=clock.sleep,
    )


def names(warnings):
    return [warning["name"] for warning in warnings]


def test_an_empty_gpu_costs_no_time_and_no_warning():
    clock = Clock()
    assert watched(FakeNvml(gpu(**EMPTY)), clock).settled() == ()
    assert clock.now == 0


def test_memory_that_is_freed_within_the_deadline_is_waited_for():
    clock, nvml = Clock(), FakeNvml(gpu(**EMPTY))
    room = watched(nvml, clock)
    nvml.gpus[0]["used"] = 20 * GIB

    def free_after_4_s():
        if clock.now >= 4:
            nvml.gpus[0]["used"] = 3 * GIB + LEFT_BYTES

    nvml.on_memory = free_after_4_s
    assert room.settled() == ()
    assert 4 <= clock.now < 5


def test_memory_that_stays_is_refused_at_the_deadline_with_its_holders():
    clock, nvml = Clock(), FakeNvml(gpu(**EMPTY), gpu(**EMPTY))
    room = watched(nvml, clock)
    nvml.gpus[1] |= {"used": 8 * GIB, "processes": [(77, 5 * GIB)]}
    with pytest.raises(RunFailed) as caught:
        room.settled()
    assert "GPU 1 holds 5,120 MiB more" in str(caught.value)
    assert "pid 77 on GPU 1 (5,120 MiB)" in str(caught.value)
    assert "--resume" in str(caught.value)
    assert 10 <= clock.now < 11


def test_memory_whose_holder_is_hidden_is_refused_too():
    nvml = FakeNvml(gpu(**EMPTY))
    room = watched(nvml, Clock())
    nvml.gpus[0]["used"] = 8 * GIB
    with pytest.raises(RunFailed, match="NVML shows none"):
        room.settled()


def test_another_program_is_named_before_a_server_starts():
    (warning,) = watched(FakeNvml(gpu(processes=[(77, 2 * GIB)])), Clock()).settled()
    assert warning["name"] == "gpu-not-exclusive"
    assert "pid 77 on GPU 0 (2,048 MiB)" in warning["seen"]


def test_beside_the_servers_own_processes_others_are_named():
    nvml = FakeNvml(gpu(processes=[(10, GIB), (77, None)]))
    gpus = Gpus.opened(lambda: nvml)
    (warning,) = others(gpus, {10, 11})
    assert warning["seen"] == "other compute processes: pid 77 on GPU 0"
    assert others(gpus, {10, 77}) == ()


def test_where_the_servers_own_processes_are_hidden_nothing_is_claimed():
    nvml = FakeNvml(gpu(processes=[(77, GIB)]))
    assert others(Gpus.opened(lambda: nvml), {10, 11}) == ()


def test_a_machine_without_gpus_has_nothing_to_wait_for():
    assert watched(FakeNvml(), Clock()).settled() == ()


def test_a_gpu_that_hides_its_memory_is_not_waited_for():
    assert names(watched(FakeNvml(gpu(used=None, processes=[])), Clock()).settled()) == []
