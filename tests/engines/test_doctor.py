"""Each check says what it found, and what would cure a lack."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from quantswarm.engines import doctor
from quantswarm.engines.hardware import Gpu, Host

HOST = Host(
    cpu="A CPU",
    isa=("avx2", "avx512f"),
    cores=(0, 1),
    core_groups=((0,), (1,)),
    memory_bytes=2**35,
    no_gpu_reason="NVML: none",
    machine="x86_64",
)


def states(host):
    return {
        check.name: check.state
        for check in (doctor.cpu(host), doctor.cores(host), doctor.memory(host), doctor.gpu(host))
    }


def test_a_good_host():
    gpu = Gpu(index=0, name="G", memory_bytes=2**36, driver="580", compute_capability="9.0")
    good = replace(HOST, gpus=(gpu,))
    assert set(states(good).values()) == {"ok"}
    assert "580" in doctor.gpu(good).found


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({"isa": ()}, "cpu", "missing"),
        ({"isa": ("avx2",)}, "cpu", "warning"),
        ({"cores": (0,), "core_groups": ((0,),)}, "cores", "warning"),
        ({"cpu_quota_cores": 1.5}, "cores", "warning"),
        ({"memory_bytes": 2**30}, "memory", "warning"),
        ({"memory_bytes": None}, "memory", "warning"),
        ({}, "gpu", "warning"),
    ],
)
def test_lacks(change, name, state):
    assert states(replace(HOST, **change))[name] == state


def test_limits_and_noise():
    assert doctor.open_files(256).state == "warning"
    assert doctor.open_files(65536).state == "ok"
    assert doctor.noise({"idle": 90, "steal": 10}).state == "warning"
    assert doctor.noise(None).found == "unknown"


def test_absent_tools_are_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path))
    monkeypatch.delenv("LLAMA_QUANTIZE_BIN", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    assert doctor.compiler().state == "missing"
    assert doctor.llama_tools().state == "missing"
    assert doctor.disk(tmp_path / "not" / "there").found.endswith("there")


def test_the_hub_is_not_waited_for(monkeypatch):
    def refuse(*words, **options):
        raise OSError("unreachable")

    monkeypatch.setattr("socket.create_connection", refuse)
    check = doctor.hub()
    assert check.state == "warning"
    assert "unreachable" in check.found


def test_everything_together(monkeypatch):
    monkeypatch.setattr(doctor, "HUB", ("127.0.0.1", 1))
    found = doctor.checks(HOST)
    names = [check.name for check in found]
    assert len(names) == len(set(names))
    assert {"cpu", "disk", "gpu", "engine vllm", "engine llamacpp", "model tiny"} <= set(names)
    assert all(check.cure for check in found if check.state == "missing")
    json.dumps([check.as_dict() for check in found])
