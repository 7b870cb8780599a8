"""The key-value cache of vLLM: its type, the refusals, and what the log says."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest

from quantswarm.engines import vllm_isa
from quantswarm.engines.diagnosis import cause_of
from quantswarm.engines.hardware import Host
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import NoSpace, NotAvailable, UserMistake
from quantswarm.models.recipes import recipe_named

HOST = Host(
    cpu="A CPU",
    isa=("avx2", "avx512f"),
    cores=(0, 1),
    core_groups=((0,), (1,)),
    memory_bytes=None,
)
AVX2 = dataclasses.replace(HOST, isa=("avx2",))
LLAMA = (
    '{"num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 8,'
    ' "hidden_size": 2048}'
)


@pytest.fixture
def artefact(tmp_path):
    (tmp_path / "config.json").write_text(LLAMA)
    return Artefact(
        path=tmp_path,
        format="safetensors",
        model="m",
        quant="bf16",
        weights_bytes=0,
        sha256="",
        tokenizer=None,
        context_tokens=32768,
        random_weights=False,
    )


def command(artefact, quant="bf16", host=HOST, device="cpu", **given):
    options = ServeOptions(port=1, users=8, context_tokens=16384, engine_options=given)
    return prepare(
        engine_named("vllm"), recipe_named(quant), artefact, options, host=host, device=device
    ).command


def cache_type(argv):
    return argv[argv.index("--kv-cache-dtype") + 1] if "--kv-cache-dtype" in argv else None


def test_recipes_choose_the_writer_and_say_why(artefact):
    ours, theirs = (command(artefact, f"fp8-kv{end}") for end in ("", "-upstream"))
    assert cache_type(ours.argv) == cache_type(theirs.argv) == "fp8"
    assert ours.env["QUANTSWARM_VLLM_FP8_KV"] == "rounded"
    assert theirs.env["QUANTSWARM_VLLM_FP8_KV"] == "upstream"
    assert "nearest" in ours.reasons["kv_cache_dtype"]
    assert "truncates" in theirs.reasons["kv_cache_dtype"]


def test_any_quantization_takes_the_cache_by_option(artefact):
    assert cache_type(command(artefact).argv) is None
    made = command(artefact, "fp32", kv_cache_dtype="fp8")
    assert cache_type(made.argv) == "fp8"
    assert made.env["QUANTSWARM_VLLM_FP8_KV"] == "rounded"


def test_the_users_option_prevails_over_the_recipe(artefact):
    assert cache_type(command(artefact, "fp8-kv", kv_cache_dtype="auto").argv) is None


@pytest.mark.parametrize("quant", ["fp8-kv", "fp8-kv-upstream"])
def test_on_a_gpu_it_is_plain_upstream(artefact, quant):
    made = command(artefact, quant, device="cuda")
    assert cache_type(made.argv) == "fp8"
    assert "QUANTSWARM_VLLM_FP8_KV" not in made.env


def test_upstreams_writer_is_refused_where_upstream_refuses(artefact):
    with pytest.raises(NotAvailable, match="neither AVX-512 nor AMX") as error:
        command(artefact, "fp8-kv-upstream", AVX2)
    assert "fp8-kv" in str(error.value)
    with pytest.raises(NotAvailable, match="isa=avx2"):
        command(artefact, "fp8-kv-upstream", isa="avx2")
    command(artefact, "fp8-kv", AVX2)


def test_half_the_room_for_half_the_bytes(artefact):
    """16 layers, 8 heads of 128, keys and values, 8 times 16384 tokens: 8 GiB in bfloat16."""
    assert command(artefact, "bf16").env["VLLM_CPU_KVCACHE_SPACE"] == "8"
    assert command(artefact, "fp32").env["VLLM_CPU_KVCACHE_SPACE"] == "16"
    assert command(artefact, "fp8-kv").env["VLLM_CPU_KVCACHE_SPACE"] == "4"


def test_a_cache_that_cannot_hold_a_request_is_refused_before_the_start(artefact):
    """32,768 numbers a token: 16384 tokens are 2 GiB in float32, 1 in bfloat16, 0.5 in FP8."""
    with pytest.raises(UserMistake, match=r"needs 2\.0 GiB.*\n.*kv_cache_gib=2"):
        command(artefact, "fp32", kv_cache_gib="1")
    assert command(artefact, "fp32", kv_cache_gib="2").env["VLLM_CPU_KVCACHE_SPACE"] == "2"
    command(artefact, "fp8-kv", kv_cache_gib="1")


def test_a_cache_larger_than_the_memory_is_refused_before_the_start(artefact):
    small = dataclasses.replace(HOST, memory_bytes=5 * 2**30)
    with pytest.raises(NoSpace, match=r"this machine has 5\.0 GiB"):
        command(artefact, "bf16", small)
    assert command(artefact, "fp8-kv", small).env["VLLM_CPU_KVCACHE_SPACE"] == "4"


@pytest.mark.parametrize(
    ("option", "value"),
    [("kv_cache_dtype", "int4"), ("kv_cache_gib", "0"), ("kv_cache_gib", "1.5"), ("isa", "sse")],
)
def test_wrong_values_are_the_users_mistake(artefact, option, value):
    with pytest.raises(UserMistake, match=f"option {option}={value}"):
        command(artefact, **{option: value})


def test_a_forced_instruction_set_is_declared(artefact, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/mine")
    made = command(artefact, isa="avx2")
    assert made.env["PYTHONPATH"].split(os.pathsep)[1:] == ["/mine"]
    assert made.env["QUANTSWARM_CPU_ISA"] == "avx2"
    assert "avx2 was asked for" in made.reasons["isa"]
    assert "PYTHONPATH" not in command(artefact).env


def test_pytorch_is_told_in_every_process(tmp_path):
    """By a stand-in for PyTorch, whose processor can do everything."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("from torch import cpu\n")
    names = ("_is_avx512_supported", "_is_avx512_bf16_supported", "_is_amx_tile_supported")
    (tmp_path / "torch/cpu.py").write_text("".join(f"def {n}(): return True\n" for n in names))
    env = vllm_isa.environment({"isa": "avx2"}, {})
    said = subprocess.run(
        (sys.executable, "-c", f"import torch; print([getattr(torch.cpu, n)() for n in {names}])"),
        env={**os.environ, **env, "PYTHONPATH": f"{env['PYTHONPATH']}{os.pathsep}{tmp_path}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.strip() == "[False, False, False]"


LOG = (
    "(APIServer) INFO Initializing a V1 LLM engine (v0.32.0) with config: model='m', "
    "dtype=torch.bfloat16, max_seq_len=2048, {}kv_cache_dtype={}, device_config=cpu\n"
    "(EngineCore) INFO CPU KV cache size: 262,144 tokens, Maximum concurrency for 2,048 tokens "
    "per request: 128.00x\n"
    "(Worker) INFO Using quantswarm:fp8_kv.avx2 for the key-value cache\n"
)


@pytest.mark.parametrize(("given", "told"), [("fp8", "fp8_e4m3"), ("auto", "bfloat16")])
def test_the_log_tells_what_serves(given, told):
    assert engine_named("vllm").served_with(LOG.format("", given)) == {
        "kernel": "quantswarm:fp8_kv.avx2",
        "kv_cache_dtype": told,
        "kv_cache_tokens": 262144,
    }


def test_what_the_log_does_not_tell_is_unknown():
    told = engine_named("vllm").served_with("nothing\n")
    assert set(told.values()) == {None}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (
            "4.0 GiB KV cache is needed, which is larger than the available KV cache memory",
            "the key-value cache is too small for one request",
        ),
        (
            "(9.1 GiB) on kv cache allocation is less than requested memory for kv (64.0 GiB).",
            "the machine has no room for the key-value cache",
        ),
        (
            "NotImplementedError: FP8 KV cache on CPU requires x86 with AVX-512 or AMX.",
            "vLLM's own FP8 key-value cache needs AVX-512 or AMX",
        ),
    ],
)
def test_a_cache_that_cannot_be_made_is_explained(line, name):
    found = cause_of(line)
    assert found is not None
    assert found.name == name
