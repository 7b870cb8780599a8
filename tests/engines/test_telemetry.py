"""The sampler counts whole trees, keeps what ended, and knows what it does not know."""

from __future__ import annotations

import json
import os
import resource
import sys
import time

from fake_nvml import FakeNvml, gpu

from quantswarm.engines.gpu import Gpus
from quantswarm.engines.telemetry import Sampler

BUSY = "x = bytearray(30_000_000)\nwhile True: pass"
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY!r}])"


def test_a_tree_is_sampled_to_a_file(start, until, tmp_path):
    process = start(sys.executable, "-c", PARENT)
    file = tmp_path / "samples.jsonl"
    with Sampler(process.pid, file, interval_s=0.05) as sampler:
        until(lambda: (sampler.peak_rss_bytes or 0) > 35_000_000, "the child's memory is seen")
        until(lambda: _last(file)["cpu_s"] > 0.2, "the child's work is seen")
    samples = [json.loads(line) for line in file.read_text().splitlines()]
    assert {"ns", "cpu_s", "rss_bytes", "processes"} <= set(samples[0])
    assert max(sample["processes"] for sample in samples) == 2
    assert [s["ns"] for s in samples] == sorted(s["ns"] for s in samples)
    assert abs(samples[-1]["ns"] - time.perf_counter_ns()) < 60e9
    assert max(sample["rss_bytes"] for sample in samples) == sampler.peak_rss_bytes
    assert sampler.peak_rss_bytes is not None
    assert sampler.peak_pss_bytes is None or sampler.peak_pss_bytes <= sampler.peak_rss_bytes


def _last(file):
    text = file.read_text() if file.exists() else ""
    lines = [line for line in text.splitlines() if line.endswith("}")]
    return json.loads(lines[-1]) if lines else {"cpu_s": 0}


def test_cpu_seconds_outlive_their_process(start, until):
    busy = start(sys.executable, "-c", BUSY)
    sampler = Sampler(busy.pid, tree=lambda: [os.getpid(), busy.pid])
    until(lambda: sampler.sample()["processes"] == 2, "both are read")
    until(lambda: sampler.sample()["cpu_s"] > 0.1, "it has worked")
    before = sampler.sample()["cpu_s"]
    busy.stop(grace_s=0)
    after = sampler.sample()
    assert after["processes"] == 1
    assert after["cpu_s"] >= before


def test_nothing_to_sample_is_absence(start, until):
    process = start(sys.executable, "-c", "pass")
    until(lambda: not process.alive(), "it ends")
    process.stop()
    sampler = Sampler(process.pid)
    sample = sampler.sample()
    assert sample["rss_bytes"] is None
    assert sampler.peak_rss_bytes is None


def test_one_line_holds_server_generator_machine_and_gpus(start, until, tmp_path):
    server = start(sys.executable, "-c", BUSY)
    generator = start(sys.executable, "-c", BUSY)
    zone = tmp_path / "root/sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0")
    (zone / "energy_uj").write_text("5")
    nvml = FakeNvml(gpu(processes=[(server.pid, 7)]))
    gpus = Gpus.opened(lambda: nvml)
    path = tmp_path / "samples.jsonl"
    sampler = Sampler(server.pid, path, interval_s=0.02, gpus=gpus, root=tmp_path / "root")
    with sampler:
        until(lambda: _last(path).get("generator_cpu_s", 0) > 0.1, "the generator's work is seen")
        until(lambda: _last(path)["cpu_s"] > 0.1, "the server's work is seen")
    last = _last(path)
    assert generator.alive()
    assert (last["gpu_bytes"], last["gpus"][0]["power_w"]) == (7, 412.345)
    assert last["cpu_package_joules"] == 0
    assert last["took_ns"] > 0
    assert last["watcher_cpu_s"] > 0
    assert last["cores"] == []  # the made-up machine lists none
    assert sampler.facts()["missing"] == {"gpu": "", "cpu_energy": ""}
    assert sampler.facts()["samples"] >= 2
    assert sampler.peak_gpu_bytes == 7
    assert nvml.opened == 0


def test_the_real_cores_are_listed_and_what_is_missing_has_a_reason():
    sampler = Sampler(os.getpid(), gpus=Gpus.opened(FakeNvml))
    assert {core["core"] for core in sampler.sample()["cores"]} == os.sched_getaffinity(0)
    assert sampler.facts()["missing"]["gpu"] == "NVML answers and lists no GPU"


def test_major_faults_of_this_process_are_what_the_kernel_counts():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    counted = Sampler(os.getpid(), tree=lambda: [os.getpid()]).sample()["major_faults"]
    assert before <= counted <= resource.getrusage(resource.RUSAGE_SELF).ru_majflt
