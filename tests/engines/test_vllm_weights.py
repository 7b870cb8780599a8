"""Quantized checkpoints that vLLM could not load are refused before it starts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantswarm.engines import vllm_products
from quantswarm.engines.hardware import Host
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.models import safetensors_file
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import BadFile, UnsupportedPair, UserMistake
from quantswarm.models.recipes import recipe_named

AVX2 = Host(
    cpu="A CPU",
    isa=("avx2",),
    cores=(0, 1),
    core_groups=((0,), (1,)),
    memory_bytes=2**34,
    no_gpu_reason="none",
)
AVX512 = replace(AVX2, isa=("avx2", "avx512f", "avx512_bf16", "avx512_vnni"))
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": True}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
LAYER = "model.layers.0.mlp.up_proj"


def packed(group=32, **weights):
    """A compressed-tensors config of 4-bit weights."""
    own = {"type": "int", "num_bits": 4, "group_size": group, **weights}
    groups = {"group_0": {"weights": own, "input_activations": None, "targets": ["Linear"]}}
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": groups,
    }


@pytest.fixture
def checkpoint(tmp_path: Path):
    """One layer of zeros in the layout that the config names."""

    def make(scheme, *, inputs=256, outputs=64, group=None, **changes) -> Artefact:
        size = scheme.get("group_size", 32) if group is None else group
        groups = inputs // (inputs if size == -1 else size)
        kind = scheme["quant_method"]
        parts = {
            "gptq": {
                "qweight": ("I32", (inputs // 8, outputs)),
                "qzeros": ("I32", (groups, outputs // 8)),
                "scales": ("F16", (groups, outputs)),
                "g_idx": ("I32", (inputs,)),
            },
            "awq": {
                "qweight": ("I32", (inputs, outputs // 8)),
                "qzeros": ("I32", (groups, outputs // 8)),
                "scales": ("F16", (groups, outputs)),
            },
            "compressed-tensors": {
                "weight_packed": ("I32", (outputs, inputs // 8)),
                "weight_scale": ("F16", (outputs, groups)),
            },
        }[kind]
        config = {"quantization_config": {**scheme, **changes}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        with (tmp_path / "model.safetensors").open("wb") as out:
            header = [(f"{LAYER}.{name}", *facts) for name, facts in parts.items()]
            safetensors_file.write_header(out, header)
            for dtype, shape in parts.values():
                out.write(np.zeros(shape, "<i4" if dtype == "I32" else "<f2").tobytes())
        return Artefact(
            path=tmp_path,
            format=kind,
            model="m",
            quant="w4a16" if kind == "compressed-tensors" else kind,
            weights_bytes=1,
            sha256="",
            tokenizer=None,
            context_tokens=512,
            random_weights=False,
        )

    return make


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    """As if set-up had compiled the kernels, and nobody had set a variable."""
    monkeypatch.setattr(vllm_products, "library", lambda: Path("kernels.so"))
    monkeypatch.delenv("QUANTSWARM_VLLM_4BIT", raising=False)


def prepared(artefact, host=AVX2, device="cpu", **options):
    return prepare(
        engine_named("vllm"),
        recipe_named(artefact.quant),
        artefact,
        ServeOptions(engine_options=options),
        host=host,
        device=device,
    )


@pytest.mark.parametrize("scheme", [GPTQ, AWQ, packed()], ids=["gptq", "awq", "w4a16"])
@pytest.mark.parametrize("host", [AVX2, AVX512], ids=["avx2", "avx512"])
def test_what_the_kernels_take_is_let_through(checkpoint, scheme, host):
    assert prepared(checkpoint(scheme), host).command.argv


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("scheme", "changes"),
    [(GPTQ, {"desc_act": True}), (packed(actorder="group"), {}), (packed(actorder="dynamic"), {})],
)
def test_groups_in_the_order_of_activations(checkpoint, scheme, changes, device):
    with pytest.raises(UnsupportedPair, match="desc_act") as caught:
        prepared(checkpoint(scheme, **changes), device=device)
    assert caught.value.exit_code == 2
    assert "q4_k_m" in caught.value.evidence
    assert "--quant gptq" in caught.value.next_step


def test_per_channel_there_is_no_order(checkpoint):
    assert prepared(checkpoint(GPTQ, group=-1, desc_act=True, group_size=-1))
    assert prepared(checkpoint(packed(None, strategy="channel", actorder="weight"), group=-1))


@pytest.mark.parametrize("size", [16, 96, 256])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_gptq_groups_that_vllm_has_not(checkpoint, size, device):
    artefact = checkpoint(GPTQ, inputs=768, group=size, group_size=size)
    with pytest.raises(UnsupportedPair, match=f"no GPTQ weights in groups of {size}"):
        prepared(artefact, device=device)


def test_groups_that_are_no_multiple_of_32_need_upstreams_kernel(checkpoint):
    artefact = checkpoint(AWQ, group=16, group_size=16)
    with pytest.raises(UnsupportedPair, match=f"{LAYER}: groups of 16.*it needs AVX-512"):
        prepared(artefact)
    with pytest.raises(UnsupportedPair, match="it needs AVX-512"):
        prepared(artefact, AVX512, isa="avx2")
    assert prepared(artefact, AVX512)
    assert prepared(artefact, device="cuda")


def test_shapes_that_upstreams_kernel_has_not(checkpoint):
    artefact = checkpoint(packed(16), group=16, inputs=256, outputs=40)
    with pytest.raises(UnsupportedPair, match="256 inputs and 40 outputs"):
        prepared(artefact, AVX512)
    assert prepared(checkpoint(packed(), outputs=40))


def test_upstreams_kernel_asked_for_where_there_is_none(checkpoint):
    artefact = checkpoint(GPTQ)
    with pytest.raises(UnsupportedPair, match=r"switched off \(four_bit=upstream\)"):
        prepared(artefact, four_bit="upstream")
    assert prepared(artefact, AVX512, four_bit="upstream")


def test_without_compiled_kernels_pytorchs_operator_sets_the_limits(checkpoint, monkeypatch):
    monkeypatch.setattr(vllm_products, "library", lambda: None)
    assert prepared(checkpoint(GPTQ))
    with pytest.raises(UnsupportedPair, match=r"40 outputs, no multiple of 16.*make setup"):
        prepared(checkpoint(GPTQ, outputs=40))
    with pytest.raises(UnsupportedPair, match="one group a channel"):
        prepared(checkpoint(GPTQ, group=-1, group_size=-1))


def test_float32_is_nothing_for_upstreams_kernel(checkpoint):
    artefact = checkpoint(GPTQ)
    with pytest.raises(UserMistake, match="bfloat16 and float16 only"):
        prepared(artefact, AVX512, four_bit="upstream", dtype="float32")
    no_bf16 = replace(AVX512, isa=("avx2", "avx512f"))
    argv = prepared(artefact, no_bf16, four_bit="upstream").command.argv
    assert "--dtype" not in argv
    assert "float32" in prepared(artefact, no_bf16).command.argv


def test_what_is_cut_short_or_of_another_kind(checkpoint):
    artefact = checkpoint(GPTQ)
    shard = artefact.path / "model.safetensors"
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(BadFile, match="truncated"):
        prepared(artefact)
    config = {"quantization_config": {"quant_method": "bitsandbytes"}}
    (checkpoint(GPTQ).path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedPair, match="'bitsandbytes', which no engine"):
        prepared(artefact)


def test_weights_that_are_not_there_yet_are_not_looked_at(checkpoint, tmp_path):
    assert prepared(replace(checkpoint(GPTQ), path=tmp_path / "later"))
