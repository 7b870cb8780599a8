"""What the window cost, from samples with a known truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import made_run
import pytest
from made_run import START, Load, S

from quantswarm.bench.judge.cell import judge
from quantswarm.bench.judge.resources import read_samples, resources
from quantswarm.bench.judge.summary import cell_as_json
from quantswarm.bench.judge.window import Window

WINDOW = Window(
    swarm_start_ns=START, start_ns=START + 3 * S, end_ns=START + 13 * S, drained_ns=START + 15 * S
)
GIB = 1024**3


def gpu(second: float, **changed: Any) -> dict[str, Any]:
    return {
        "gpu": 0,
        "utilization": 0.9,
        "used_bytes": 10 * GIB,
        "power_w": 300.0,
        "sm_mhz": 1900,
        "temperature_c": 60,
        "throttle": [],
        "energy_j": 300.0 * second,
    } | changed


def samples(**changed: Any) -> list[dict[str, Any]]:
    """Every half second, a quarter off the window's edges, from before it until after."""
    made = []
    for half in range(34):
        t = half / 2 + 0.25
        made.append(
            {
                "ns": START + int(t * S),
                "cpu_s": 0.8 * t,
                "generator_cpu_s": 0.1 * t,
                "watcher_cpu_s": 0.01 * t,
                "rss_bytes": 5,
                "pss_bytes": 4 + half,
                "throttled_s": 0.02 * t,
                "major_faults": half,
                "cpu_package_joules": 50.0 * t,
                "cores": [
                    {"core": 0, "busy_s": 7 + 0.9 * t, "steal_s": 0.05 * t},
                    {"core": 1, "busy_s": 0.1 * t, "steal_s": 0.15 * t},
                ],
                "gpus": [gpu(t), gpu(t, gpu=1, utilization=0.2, power_w=100.0, energy_j=100.0 * t)],
            }
            | changed
        )
    return made


def test_rates_and_energy_are_of_the_window_alone() -> None:
    found = resources(samples(), WINDOW)
    assert found is not None
    assert found.samples == 20
    assert found.server_cpu_mean == pytest.approx(0.8)
    assert found.server_cpu_max == pytest.approx(0.8)
    assert found.generator_cpu_mean == pytest.approx(0.1)
    assert found.watcher_cpu_mean == pytest.approx(0.01)
    assert found.core_busy == pytest.approx({"0": 0.9, "1": 0.1})
    assert found.steal_share == pytest.approx(0.1)
    assert found.throttled_share == pytest.approx(0.02)
    assert found.major_faults == pytest.approx(20)
    assert found.cpu_package_joules == pytest.approx(500)
    assert found.gpu_joules == pytest.approx(4_000)


def test_several_gpus_are_summed_but_for_shares_clocks_and_heat() -> None:
    lines = samples()
    lines[10]["gpus"][1] |= {"sm_mhz": 1200, "temperature_c": 83, "throttle": ["hw_thermal"]}
    lines[11]["gpus"][0] |= {"throttle": ["gpu_idle"], "used_bytes": 40 * GIB}
    lines[0]["gpus"][0] |= {"sm_mhz": 1, "temperature_c": 999}
    found = resources(lines, WINDOW)
    assert found is not None
    assert found.gpu_utilization_mean == pytest.approx(0.9)
    assert found.gpu_memory_max_bytes == 50 * GIB
    assert (found.gpu_power_mean_w, found.gpu_power_max_w) == (400, 400)
    assert (found.gpu_sm_min_mhz, found.gpu_temperature_max_c) == (1200, 83)
    assert found.gpu_slowed_share == pytest.approx(1 / 40)
    assert found.gpu_slowed_by == ["hw_thermal"]


def test_a_gpu_without_a_counter_makes_the_sum_unknown() -> None:
    lines = samples()
    for line in lines:
        line["gpus"][1]["energy_j"] = None
    found = resources(lines, WINDOW)
    assert found is not None
    assert found.gpu_joules is None
    assert found.gpu_power_mean_w == 400


def test_samples_that_do_not_reach_over_the_window_give_no_rates() -> None:
    found = resources([line for line in samples() if line["ns"] < WINDOW.end_ns], WINDOW)
    assert found is not None
    assert found.server_cpu_mean is found.gpu_joules is None
    assert found.pss_max_bytes is not None


def test_a_run_of_an_older_version_has_what_it_has() -> None:
    old = [{k: line[k] for k in ("ns", "cpu_s", "rss_bytes")} for line in samples()]
    found = resources(old, WINDOW)
    assert found is not None
    assert found.server_cpu_mean == pytest.approx(0.8)
    assert found.cpu_package_joules is found.gpu_utilization_mean is found.steal_share is None
    assert resources([], WINDOW) is None


def test_a_slowed_gpu_and_a_quota_are_named_beside_the_numbers(tmp_path: Path) -> None:
    load = Load(users=1, warmup_s=3, window_s=10)
    folder = made_run.write_cell(made_run.write_run(tmp_path / "run"), "vllm", "fp32", load)
    lines = samples()
    for line in lines[10:14]:
        line["gpus"][0]["throttle"] = ["sw_power_cap", "application_clocks"]
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"ns": 3, "c')
    result = judge(folder)
    seen = {warning["name"]: warning["seen"] for warning in result.warnings}
    assert "10%" in seen["gpu-slowed-down"]
    assert "sw_power_cap" in seen["gpu-slowed-down"]
    assert "application_clocks" not in seen["gpu-slowed-down"]
    assert "2.0%" in seen["cpu-quota-reached"]
    assert cell_as_json(result)["resources"]["gpu_joules"] == pytest.approx(4_000)


def test_a_file_with_odd_lines_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text('{"ns": 5}\n[]\nx\n{"ns": "a"}\n{"ns": 2}\n{"ns"')
    assert [sample["ns"] for sample in read_samples(path)] == [2, 5]
    assert read_samples(tmp_path / "none") == ()
