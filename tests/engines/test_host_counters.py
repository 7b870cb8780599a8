"""Counters of the machine, from files made up for each case."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.engines.host_counters import PackageEnergy, core_seconds, throttled_s

TICK = os.sysconf("SC_CLK_TCK")


def put(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(text))
    return path


def test_a_core_works_waits_and_is_robbed(tmp_path):
    line = " ".join(str(n * TICK) for n in (5, 1, 2, 90, 8, 1, 1, 3, 0, 0))
    put(tmp_path, "proc/stat", f"cpu  1 2 3\ncpu0 {line}\ncpu1 1 2\nintr 5\n")
    (core,) = core_seconds([0, 1, 7], tmp_path)
    assert (core.core, core.busy_s, core.steal_s) == (0, 10.0, 3.0)


def test_no_such_file_is_no_core(tmp_path):
    assert core_seconds([0], tmp_path) == ()


@pytest.mark.parametrize(
    ("group", "file", "text", "seconds"),
    [
        ("0::/a/b\n", "sys/fs/cgroup/a/b/cpu.stat", "throttled_usec 2500000\n", 2.5),
        ("0::/gone\n", "sys/fs/cgroup/cpu.stat", "nr_periods 1\nthrottled_usec 1\n", 1e-6),
        ("4:memory:/m\n2:cpu,cpuacct:/x\n", "sys/fs/cgroup/cpu,cpuacct/x/cpu.stat",
         "throttled_time 3000000000\n", 3.0),
        ("1:cpu:/x\n", "sys/fs/cgroup/cpu/cpu.stat", "throttled_time 0\n", 0.0),
        ("1:cpu:/x\n", "sys/fs/cgroup/cpu/cpu.stat", "usage_usec 7\n", None),
    ],
)  # fmt: skip
def test_the_quota_is_read_from_either_version_of_control_groups(
    tmp_path, group, file, text, seconds
):
    put(tmp_path, "proc/self/cgroup", group)
    put(tmp_path, file, text)
    assert throttled_s(tmp_path) == seconds


def test_no_control_group_is_unknown(tmp_path):
    assert throttled_s(tmp_path) is None


def zone(root, number, microjoules, name=None, most=1_000_000):
    folder = f"sys/class/powercap/intel-rapl:{number}"
    put(root, f"{folder}/name", f"{name or f'package-{number}'}\n")
    put(root, f"{folder}/max_energy_range_uj", most)
    return put(root, f"{folder}/energy_uj", microjoules)


def test_packages_are_summed_and_their_parts_are_not(tmp_path):
    first, second = zone(tmp_path, 0, 100), zone(tmp_path, 1, 500_000)
    part = zone(tmp_path, "0:0", 0, name="core")
    system = zone(tmp_path, 2, 0, name="psys")
    energy = PackageEnergy(tmp_path)
    assert energy.reason == ""
    assert energy.joules() == 0
    for file, value in ((first, 200_100), (second, 800_000), (part, 9), (system, 900_000)):
        file.write_text(str(value))
    assert energy.joules() == pytest.approx(0.5)


@given(st.lists(st.integers(0, 999_999), max_size=20), st.integers(0, 999_999))
def test_a_counter_that_wraps_goes_on(tmp_path_factory, steps, start):
    root = tmp_path_factory.mktemp("rapl")
    file = zone(root, 0, start)
    energy, total = PackageEnergy(root), start
    for step in steps:
        total += step
        file.write_text(str(total % 1_000_000))
        found = energy.joules()
    if steps:
        assert found == pytest.approx((total - start) / 1e6)


def test_without_rapl_or_leave_to_read_it_the_reason_is_given(tmp_path):
    nothing = PackageEnergy(tmp_path)
    assert nothing.joules() is None
    assert "no CPU package" in nothing.reason
    zone(tmp_path, 0, 1)
    zone(tmp_path, 1, "").write_text("")
    hidden = PackageEnergy(tmp_path)
    assert hidden.joules() is None
    assert "root" in hidden.reason


def test_a_counter_that_goes_away_is_unknown_from_then_on(tmp_path):
    file = zone(tmp_path, 0, 1)
    energy = PackageEnergy(tmp_path)
    file.unlink()
    assert energy.joules() is None
    assert "no longer" in energy.reason
