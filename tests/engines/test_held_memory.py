"""What processes hold: resident, shared out, and on GPUs; what is not told is absent."""

from __future__ import annotations

import os
import sys

from fake_nvml import GIB, FakeNvml, gpu

from quantswarm.engines.gpu import Gpus
from quantswarm.engines.held_memory import held_memory, pss_bytes

HOLDS = "held = bytearray(40_000_000)\nprint('ready', flush=True)\nimport time; time.sleep(600)"


def test_a_process_holds_what_it_wrote_to(start, until):
    process = start(sys.executable, "-c", HOLDS)
    until(lambda: "ready" in process.tail(), "it has its memory")
    found = held_memory([process.pid])
    assert found.rss_bytes is not None
    assert found.pss_bytes is not None
    assert 40_000_000 < found.pss_bytes <= found.rss_bytes


def test_gpus_are_summed_over_the_trees_processes_alone_and_let_go_of():
    nvml = FakeNvml(
        gpu(processes=[(os.getpid(), 3 * GIB), (1, 5 * GIB)]), gpu(processes=[(os.getpid(), GIB)])
    )
    assert held_memory([os.getpid()], Gpus.opened(lambda: nvml)).gpu_bytes == 4 * GIB
    assert nvml.opened == 0


def test_no_process_holds_nothing_that_could_be_taken_for_nought():
    found = held_memory([], Gpus.opened(FakeNvml))
    assert (found.rss_bytes, found.pss_bytes, found.gpu_bytes) == (None, None, None)
    assert pss_bytes([2**22 + 1]) is None
