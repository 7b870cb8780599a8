"""What a manifest says that a server took, before and after its cell was watched."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "judge"))

import made_run
from made_physics import physics

from quantswarm.bench.footprint import footprint
from quantswarm.bench.subject import Subject, external
from quantswarm.engines.held_memory import HeldMemory

KEYS = {
    "weights_disk_bytes",
    "weight_parts",
    "memory_after_load_bytes",
    "memory_peak_bytes",
    "load_s",
    "first_ready_s",
}


def subject(**changed: Any) -> Subject:
    held = HeldMemory(rss_bytes=300, pss_bytes=200, gpu_bytes=None)
    server: Any = SimpleNamespace(after_load=held, first_ready_s=1.5, load_s=2.0)
    about: dict[str, Any] = {
        "engine": "vllm",
        "quant": "bf16",
        "model": "m",
        "base_url": "http://h/v1",
        "served_name": "m",
        "facts": {"weights_bytes": 111},
        "server": server,
        "physics": physics(),
        "stored": physics().weights,
    }
    return Subject(**about | changed)


def test_disk_memory_and_time_stand_together() -> None:
    found = footprint(subject(), {"rss_peak_bytes": 400, "gpu_peak_bytes": None})
    assert found is not None
    assert set(found) >= KEYS
    assert (found["weights_disk_bytes"], found["memory_after_load_bytes"]) == (111, 300)
    assert (found["memory_peak_bytes"], found["pss_after_load_bytes"]) == (400, 200)
    assert (found["first_ready_s"], found["load_s"]) == (1.5, 2.0)
    parts = {part["part"]: part for part in found["weight_parts"]}
    assert list(parts) == ["linear", "embeddings", "lm_head"]
    assert set(parts["linear"]) >= {"bytes", "parameters", "dtype", "bits_per_weight"}
    assert parts["linear"]["bits_per_weight"] == found["bits_per_weight"] == 16
    assert json.loads(json.dumps(found)) == found


def test_without_weights_or_peaks_there_is_absence_and_no_nought() -> None:
    found = footprint(subject(physics=None, stored=None, facts={}), {})
    assert found is not None
    for key in ("weights_disk_bytes", "weight_parts", "bits_per_weight", "memory_peak_bytes"):
        assert found[key] is None


def test_what_is_quantized_while_it_loads_has_parts_of_both_kinds() -> None:
    whole = physics().weights
    assert whole is not None
    halved = dataclasses.replace(whole.parts[0], kind="int8", stored_bytes=45_000_000, plain=False)
    loaded = dataclasses.replace(whole, parts=(halved, *whole.parts[1:]))
    found = footprint(subject(physics=dataclasses.replace(physics(), weights=loaded)), {})
    assert found is not None
    assert [part["dtype"] for part in found["weight_parts"]] == ["bfloat16"] * 3
    assert [part["dtype"] for part in found["loaded_parts"]] == ["int8", "bfloat16", "bfloat16"]
    assert found["loaded_parts"][0]["bits_per_weight"] == 8
    plain = footprint(subject(), {})
    assert plain is not None
    assert plain["loaded_parts"] is None


def test_an_endpoint_of_others_has_none() -> None:
    assert footprint(external("http://h/v1", "m", None), {}) is None


def test_made_up_footprints_have_the_keys_of_real_ones() -> None:
    real, made = footprint(subject(), {}), made_run.footprint("int8")
    assert real is not None
    assert set(made) == set(real)
    assert set(made["weight_parts"][0]) == set(real["weight_parts"][0])
