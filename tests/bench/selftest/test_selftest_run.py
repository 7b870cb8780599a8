"""One case from end to end: structure and counts, and no time that a busy machine would bend."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from quantswarm.bench.selftest.cases import DYING_SERVER, LOCKSTEP
from quantswarm.bench.selftest.fault_run import run_faults
from quantswarm.bench.selftest.segment import Place
from quantswarm.bench.selftest.session import Session

SHORT = dataclasses.replace(
    LOCKSTEP, name="short", users=4, output_tokens=20, warmup_s=0.1, duration_s=0.5, drain_s=5.0,
    server_must_keep_up=False, bounds={"itl_p99_error_ms": 1e9},
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(folder=tmp_path, server_cores=(), client_cores=())


def test_both_clients_record_exactly_what_the_server_did(place: Place) -> None:
    said: list[str] = []
    found = Session(place, said.append).run([SHORT])
    json.dumps(found, allow_nan=False)
    (case,) = found["cases"]
    assert case["why"] == []
    assert (found["valid"], case["ok"], case["void"], case["runs"]) == (True, True, False, 3)
    for key in ("ttft_p50_error_ms", "itl_p99_error_ms", "reference_itl_p99_error_ms"):
        assert case[key] >= 0
    assert case["cpu_us_per_token"] > 0
    assert found["noise_floor_ms"] >= 0
    assert any("short" in line for line in said)


def test_a_server_that_dies_leaves_counts_that_agree(place: Place) -> None:
    found = run_faults(dataclasses.replace(DYING_SERVER, duration_s=2.5), place)
    assert found.why == ()
    assert found.counts["stalled"] == 1
    assert found.counts["refused"] > 0
