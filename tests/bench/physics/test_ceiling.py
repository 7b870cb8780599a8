"""Ceilings of a variant as one document: numbers by hand, and null with a reason where unknown."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from made_physics import MB, part, physics, speed

from quantswarm.bench.physics.ceiling import held_as
from quantswarm.bench.physics.expected import Expected
from quantswarm.bench.physics.words import card, component_rows, lines
from quantswarm.engines.host_speed.figures import HostSpeed
from quantswarm.models.weight_parts import LAYERS, Weights

LENGTHS = Expected(prompt_tokens=100, output_tokens=40)


def test_a_step_reads_layers_and_head_and_each_streams_cache() -> None:
    found = physics().ceiling(4, LENGTHS)
    floor_s = (100 * MB + 4 * 120 * 1000) / 10e9
    assert found["decode_tok_s"] == pytest.approx(4 / floor_s)
    assert found["step_floor_ms"] == pytest.approx(1e3 * floor_s)
    assert found["bound"] == "memory"
    assert found["weights_bytes_per_token"] == 100 * MB
    assert found["stored_bytes"] == 110 * MB
    assert found["flops_per_token"] == 2 * 50 * MB
    assert found["prefill_tok_s"] == pytest.approx(10_000, rel=0.2)
    assert found["host"]["bandwidth_gb_s"] == 10
    assert (found["host"]["gflops"], found["host"]["dtype"]) == (1000, "float32")
    assert found["unknown"] == {}
    json.dumps(found, allow_nan=False)


def test_weights_that_are_widened_at_load_take_twice_the_time() -> None:
    narrow, wide = (physics(dtype=d).ceiling(1, LENGTHS) for d in (None, "float32"))
    assert wide["weights_bytes_per_token"] == 2 * narrow["weights_bytes_per_token"]
    assert wide["stored_bytes_per_token"] == narrow["stored_bytes_per_token"]
    assert wide["decode_tok_s"] == pytest.approx(narrow["decode_tok_s"] / 2, rel=0.01)
    assert {row["held_as"] for row in wide["components"]} == {"float32"}


def test_only_some_engines_widen_and_only_to_known_types() -> None:
    assert held_as(widens=True, dtype="float32") == "float32"
    assert held_as(widens=False, dtype="float32") is None
    assert held_as(widens=True, dtype=None) is None
    assert held_as(widens=True, dtype="auto") is None


def test_the_bandwidth_is_that_of_the_working_set() -> None:
    """15 MB that stay in a cache are not held to the memory's speed."""
    two = speed().bandwidths[0]
    curve = (two, dataclasses.replace(two, size_bytes=1000 * MB, gb_s=2.0))
    host = dataclasses.replace(speed(), bandwidths=curve)
    small = physics(host=host).ceiling(1, LENGTHS)
    large = physics(host=host, kv_bytes=10.0 * MB).ceiling(1, LENGTHS)
    assert small["host"]["bandwidth_gb_s"] == 10
    assert large["host"]["bandwidth_gb_s"] == 2


def test_no_more_streams_than_the_server_has_places() -> None:
    assert physics().ceiling(64, LENGTHS)["streams"] == 8
    assert physics().ceiling(0, LENGTHS)["streams"] == 8


def test_without_lengths_the_cache_is_left_out_and_said() -> None:
    found = physics().ceiling(1, None)
    assert found["decode_tok_s"] == pytest.approx(100)
    assert found["prefill_tok_s"] is None
    assert found["context_tokens"] is None
    assert "data set" in found["unknown"]["context_tokens"]


@pytest.mark.parametrize(
    "broken",
    [
        {"host": HostSpeed(device="cpu", cores=(0,), threads=1, reason="no torch")},
        {"kv_bytes": None},
    ],
)
def test_what_is_not_known_is_null(broken: dict[str, Any]) -> None:
    known = physics(**broken)
    found = dataclasses.replace(known, unknown={"host": "no torch"}).ceiling(1, LENGTHS)
    for key in ("decode_tok_s", "prefill_tok_s", "step_floor_ms", "bound"):
        assert found[key] is None
    assert found["weights_bytes_per_token"] == 100 * MB
    assert lines([("1 user", found)]) == ["ceiling: n/a: no torch"]
    assert "unknown: host: no torch" in card(found)


def test_a_mixture_of_experts_has_no_ceiling() -> None:
    weights = Weights(
        parts=(part(LAYERS, 90),),
        kv_elements=500,
        attention_width=256,
        stored_as=None,
        unknown="a mixture of experts",
    )
    found = dataclasses.replace(physics(), weights=weights).ceiling(1, LENGTHS)
    assert found["weights_bytes_per_token"] is None
    assert found["decode_tok_s"] is None


def test_words_for_people() -> None:
    loads = [(f"{n} users", physics().ceiling(n, LENGTHS)) for n in (2, 8)]
    first, second = lines(loads)
    assert first == (
        "ceiling: 100 MB of weights read a step, 1,000 B of cache a token of context; 10.0 GB/s, "
        "1,000 GFLOP/s (float32)"
    )
    assert second.startswith("ceiling: 2 users: decode ≤ 200 tok/s by memory, prefill ≤ ")
    assert "; 8 users: decode ≤ " in second
    assert component_rows(loads[0][1])[-1] == ["all", "", "110,000,000", "100,000,000", ""]
    assert lines([]) == []
