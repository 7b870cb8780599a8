"""Ceilings on a GPU: its own bandwidth and rates decide; layers in main memory have none."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.physics.before import physics_of
from quantswarm.bench.physics.ceiling import Physics
from quantswarm.bench.physics.expected import Expected
from quantswarm.bench.selection import select_planned
from quantswarm.engines import llamacpp
from quantswarm.engines.hardware import Gpu, Host
from quantswarm.engines.host_speed.child import Request
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.models import shapes

LENGTHS = Expected(prompt_tokens=512, output_tokens=128)
CONTEXT = 512 + 128 / 2
GPU = Gpu(index=0, name="G", memory_bytes=141 * 10**9, driver="1", compute_capability="9.0")
HOST = Host(
    cpu="A CPU",
    isa=("avx2",),
    cores=tuple(range(16)),
    core_groups=tuple((core,) for core in range(16)),
    memory_bytes=2**37,
    gpus=(GPU,),
)
MADE_UP: dict[str, Any] = {
    "bandwidths": [
        {"size_bytes": 2**27, "gb_s": 3000.0, "spread": 0.0, "by": "copy"},
        {"size_bytes": 2**31, "gb_s": 4000.0, "spread": 0.0, "by": "copy"},
    ],
    "rates": [
        {"dtype": "float32", "gflops": 50e3, "spread": 0.0, "side": 8192},
        {"dtype": "float16", "gflops": 800e3, "spread": 0.0, "side": 8192},
        {"dtype": "float8", "gflops": 1500e3, "spread": 0.0, "side": 8192},
    ],
    "torch": "0",
    "limits": {},
}
"""Round numbers, of no GPU that was measured."""


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(llamacpp, "server_binary", lambda: None)


def physics(engine: str, quant: str, asked: list[Request], layers: str = "all") -> Physics:
    chosen = select_planned(engine, quant, "synthetic/7b")
    options = ServeOptions(users=128, gpu_layers=layers)
    made = prepare(chosen.engine, chosen.recipe, chosen.artefact, options, host=HOST, device="cuda")

    def ask(request: Request) -> dict[str, Any]:
        asked.append(request)
        return MADE_UP

    found = physics_of(chosen, made, ask=ask)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("engine", "quant", "rate"),
    [
        ("vllm", "fp16", 800e3),
        ("vllm", "fp8-nearest", 1500e3),
        ("vllm", "gptq-nearest", 1500e3),
        ("llamacpp", "q4_k_m", 1500e3),
    ],
)
def test_one_user_is_held_to_the_gpus_memory(engine: str, quant: str, rate: float) -> None:
    asked: list[Request] = []
    found = physics(engine, quant, asked)
    assert asked[0].device == "cuda"
    ceiling = found.ceiling(1, LENGTHS)
    read, kv = ceiling["weights_bytes_per_token"], ceiling["kv_bytes_per_token"]
    assert ceiling["bound"] == "memory"
    assert ceiling["decode_tok_s"] == pytest.approx(4000e9 / (read + CONTEXT * kv), rel=0.01)
    assert ceiling["host"]["gflops"] == rate
    assert ceiling["unknown"] == {}


def test_many_users_are_held_to_the_gpus_arithmetic() -> None:
    found = dataclasses.replace(physics("vllm", "gptq-nearest", []), most_streams=4096)
    ceiling = found.ceiling(4096, Expected(prompt_tokens=1, output_tokens=1))
    shape = shapes.named("synthetic/7b")
    embeddings = shape.vocabulary * shape.width
    norms = shape.width * (2 * shape.layers + 1)
    multiplied = shape.parameters - embeddings - norms
    assert ceiling["bound"] == "arithmetic"
    assert ceiling["decode_tok_s"] == pytest.approx(1500e12 / (2 * multiplied), rel=0.01)


def test_an_fp8_cache_is_half_of_a_16_bit_one() -> None:
    wide, narrow = (physics("vllm", quant, []) for quant in ("fp16", "fp8-kv"))
    assert wide.kv_bytes == 2 * 2 * 32 * 8 * 128
    assert narrow.kv_bytes == wide.kv_bytes / 2


@pytest.mark.parametrize("layers", ["half", "none"])
def test_layers_in_main_memory_have_no_ceiling_and_say_why(layers: str) -> None:
    asked: list[Request] = []
    ceiling = physics("llamacpp", "q8_0", asked, layers).ceiling(1, LENGTHS)
    assert asked == []
    assert ceiling["decode_tok_s"] is None
    assert "shared between the GPU and the CPU" in ceiling["unknown"]["host"]
