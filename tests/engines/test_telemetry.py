"""The sampler counts whole trees, keeps what ended, and knows what it does not know."""

from __future__ import annotations

import json
import os
import sys
import time

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
    lines = [line for line in file.read_text().splitlines() if line.endswith("}")]
    return json.loads(lines[-1]) if lines else {"cpu_s": 0}


def test_cpu_seconds_outlive_their_process(start, until):
    busy = start(sys.executable, "-c", BUSY)
    sampler = Sampler(busy.pid, tree=lambda: [os.getpid(), busy.pid])
    until(lambda: sampler.sample()["processes"] == 2, "both are read")
    until(lambda: sampler._cpu and sampler.sample()["cpu_s"] > 0.1, "it has worked")
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
