"""Products that are emulated, inexact or slow on a CPU carry a named warning; good ones none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quantswarm.engines import vllm_products, vllm_warnings
from quantswarm.engines.hardware import Host
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.models.artefact import Artefact
from quantswarm.models.recipes import recipe_named

AVX2 = Host(
    cpu="A CPU",
    isa=("avx2",),
    cores=(0, 1),
    core_groups=((0,), (1,)),
    memory_bytes=2**34,
    no_gpu_reason="none",
)
SKYLAKE = replace(AVX2, isa=("avx2", "avx512f"))
ZEN4 = replace(AVX2, isa=("avx2", "avx512f", "avx512_vnni", "avx512_bf16"))
AMX = replace(ZEN4, isa=(*ZEN4.isa, "amx_tile", "amx_bf16", "amx_int8"))
WEIGHTS = Artefact(
    path=Path("weights"),
    format="",
    model="tiny",
    quant="",
    weights_bytes=0,
    sha256="",
    tokenizer=None,
    context_tokens=512,
    random_weights=False,
)


@pytest.fixture(autouse=True)
def compiled(monkeypatch, tmp_path):
    """As if set-up had compiled the kernels, and nobody had set a variable."""
    monkeypatch.setattr(vllm_products, "library", lambda: Path("kernels.so"))
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path))
    for name in ("QUANTSWARM_VLLM_4BIT", "QUANTSWARM_VLLM_INT8", "VLLM_CPU_INT4_W4A8"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def nothing_compiled(monkeypatch):
    monkeypatch.setattr(vllm_products, "library", lambda: None)


def made(quant, host, device="cpu", **options):
    recipe = recipe_named(quant)
    weights = replace(WEIGHTS, quant=quant, format=recipe.format)
    asked = ServeOptions(engine_options=options)
    return prepare(engine_named("vllm"), recipe, weights, asked, host=host, device=device)


def names(quant, host, device="cpu", **options):
    return [one["name"] for one in made(quant, host, device, **options).warnings]


@pytest.mark.parametrize("quant", ["gptq", "awq", "w4a16", "int8", "fp8-kv", "fp32"])
@pytest.mark.parametrize("host", [AVX2, SKYLAKE, ZEN4, AMX])
def test_what_serves_well_is_not_warned_of(quant, host):
    assert names(quant, host) == []


@pytest.mark.usefixtures("nothing_compiled")
def test_without_compiled_kernels_pytorch_serves_four_bits(tmp_path):
    (only,) = made("gptq", AMX).warnings
    assert only["name"] == "fallback-kernel"
    assert "no kernels were compiled" in only["cause"]
    assert only["advice"].startswith("make setup")
    assert names("awq", AVX2) == ["fallback-kernel", "slower-kernel"]
    assert names("awq", AMX, isa="avx2") == ["fallback-kernel", "slower-kernel"]
    (tmp_path / "vllm_cpu" / "old").mkdir(parents=True)
    (tmp_path / "vllm_cpu" / "old" / "seal.json").write_text("{}")
    (only,) = made("w4a16", AMX).warnings
    assert "another PyTorch" in only["cause"]


def test_pytorchs_operator_asked_for():
    (only,) = made("gptq", ZEN4, four_bit="torch").warnings
    assert (only["name"], only["cause"]) == ("fallback-kernel", "it was asked for")


@pytest.mark.parametrize(
    ("host", "options", "expected"),
    [
        (AMX, {}, "rounded-activations"),
        (AMX, {"dtype": "float16"}, "slower-kernel"),
        (ZEN4, {}, "slower-kernel"),
        (SKYLAKE, {}, "slower-kernel"),
    ],
)
def test_upstreams_four_bit_kernel(host, options, expected):
    assert expected in names("gptq", host, four_bit="upstream", **options)


def test_upstream_can_be_told_not_to_round(monkeypatch):
    monkeypatch.setenv("VLLM_CPU_INT4_W4A8", "0")
    assert names("gptq", AMX, four_bit="upstream") == ["slower-kernel"]
    monkeypatch.setenv("QUANTSWARM_VLLM_4BIT", "upstream")
    assert names("gptq", AMX) == ["slower-kernel"]


def test_rounded_activations_of_our_own_are_named_too():
    assert names("awq", AVX2, four_bit="w4a8") == ["rounded-activations"]
    assert names("awq", AVX2, four_bit="w4a16") == []
    assert names("int8", AVX2, four_bit="w4a8") == []


@pytest.mark.parametrize(
    ("host", "options", "expected"),
    [
        (AVX2, {"int8": "upstream"}, ["inexact-kernel"]),
        (SKYLAKE, {"int8": "upstream"}, ["inexact-kernel"]),
        (AMX, {"int8": "upstream", "isa": "avx2"}, ["inexact-kernel"]),
        (ZEN4, {"int8": "upstream"}, []),
        (AVX2, {"int8": "exact"}, []),
    ],
)
def test_upstreams_int8_product_without_vnni(host, options, expected):
    assert names("int8", host, **options) == expected


@pytest.mark.usefixtures("nothing_compiled")
def test_without_compiled_kernels_upstream_serves_int8():
    (only,) = made("int8", AVX2).warnings
    assert only["name"] == "fallback-kernel"
    assert "saturate" in only["cause"]
    assert names("int8", ZEN4) == []
    assert names("int8", replace(AVX2, isa=("avx2", "avx_vnni"))) == []


def test_the_cache(monkeypatch):
    assert names("fp8-kv-upstream", ZEN4) == ["inexact-kernel"]
    assert names("gptq", ZEN4, kv_cache_dtype="fp8-upstream") == ["inexact-kernel"]
    assert names("fp8-kv", AVX2) == []
    monkeypatch.setattr(vllm_products, "library", lambda: None)
    assert names("fp8-kv", AVX2) == ["fallback-kernel"]
    assert names("fp8-kv", ZEN4) == []


def test_an_emulated_type_asked_for_by_option():
    assert names("int8", AVX2, dtype="bfloat16") == ["emulated-kernel"]
    (only,) = made("int8", ZEN4, dtype="float16").warnings
    assert "--option dtype=bfloat16" in only["advice"]
    assert names("fp16", AVX2, dtype="float32") == []


def test_nothing_of_it_concerns_a_gpu():
    assert names("gptq", AVX2, "cuda", four_bit="upstream") == []


KERNELS = "INFO Using {} for AutoGPTQLinearMethod\nINFO Using {} kernel for 4-bit weights\n"
OURS = KERNELS.format("QuantswarmW4A16LinearKernel", "quantswarm:w4a16.vnni+w4a16.amx")
THEIRS = "INFO Using CPUWNA16LinearKernel for AutoGPTQLinearMethod\n"
CACHE = "INFO Using quantswarm:fp8_kv.avx2 for the key-value cache\n"
INT8 = "INFO Selected {} for CompressedTensorsW8A8Int8\n"


@pytest.mark.parametrize(
    ("quant", "options", "log", "told"),
    [
        ("gptq", {}, OURS + CACHE, None),
        ("gptq", {}, "", None),
        ("gptq", {}, CACHE, None),
        ("fp32", {}, THEIRS, None),
        ("gptq", {}, THEIRS, "CPUWNA16LinearKernel"),
        ("gptq", {}, OURS + THEIRS, "CPUWNA16LinearKernel"),
        ("gptq", {"four_bit": "upstream"}, THEIRS, None),
        ("gptq", {"four_bit": "upstream"}, OURS, "quantswarm:w4a16.vnni+w4a16.amx"),
        ("awq", {"four_bit": "w4a8"}, OURS, "QuantswarmW4A16LinearKernel"),
        ("int8", {}, INT8.format("QuantswarmInt8LinearKernel"), None),
        ("int8", {}, INT8.format("CPUInt8ScaledMMLinearKernel"), "CPUInt8ScaledMMLinearKernel"),
        ("int8", {"int8": "upstream"}, INT8.format("CPUInt8ScaledMMLinearKernel"), None),
    ],
)
def test_the_log_is_held_against_what_was_announced(quant, options, log, told):
    spec = made(quant, SKYLAKE, **options).spec
    found = engine_named("vllm").remarks(quant, spec, log)
    assert [one[0] for one in found] == ([] if told is None else ["other-kernel"])
    assert told is None or told in found[0][1]


def test_every_product_has_its_names():
    choices = {*map("four_bit={}".format, ("w4a16", "w4a8", "torch", "upstream"))}
    assert set(vllm_warnings._NAMES) == choices | {"int8=exact", "int8=upstream"}
