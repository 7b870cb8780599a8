"""transformers' command, what it refuses before it starts, and what it says of itself; no torch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from quantswarm.engines.base import Precision
from quantswarm.engines.hardware import Host
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named, flags_for
from quantswarm.engines.transformers_serve.arguments import parsed
from quantswarm.engines.transformers_serve.facts import CACHE, FACTS
from quantswarm.models import source, store
from quantswarm.models.errors import (
    NoSpace,
    NotAvailable,
    UnknownName,
    UnsupportedPair,
    UserMistake,
)
from quantswarm.models.recipes import recipe_named

ENGINE = engine_named("transformers")
GPT2 = {
    "product": "quantized::linear_dynamic[x86]",
    "quantized": 38_597_376,
    "left": {"Embedding": 39_383_808, "Conv1D": 84_934_656},
    "bytes_before": 497_759_232,
    "bytes": 536_356_608,
}


@pytest.fixture
def host():
    return Host(
        cpu="A CPU",
        isa=("avx2", "avx512f", "avx512_bf16"),
        cores=(0, 1),
        core_groups=((0,), (1,)),
        memory_bytes=8 * 2**30,
        gpus=(),
        no_gpu_reason="none",
    )


def prepared(host, quant="fp32", *, artefact=None, **own):
    recipe = recipe_named(quant)
    made = artefact or store.planned("tiny", recipe)
    options = ServeOptions(port=1, users=8, engine_options=own)
    return prepare(ENGINE, recipe, made, options, host=host, device="cpu")


def words(ready):
    argv = list(ready.command.argv)
    return parsed(argv[argv.index("-m") + 2 :])


def test_the_command_is_what_its_process_reads(host):
    asked = words(prepared(host))
    assert (asked.dtype, asked.quantize, asked.cores, asked.threads) == ("float32", None, "0", 1)
    assert asked.continuous_batching == 0


def test_one_at_a_time_unless_batching_is_on(host):
    off, on = prepared(host), prepared(host, continuous_batching="on")
    assert (ENGINE.streams(off.spec), ENGINE.streams(on.spec)) == (1, 8)
    assert words(on).continuous_batching == 8
    assert "one at a time" in off.command.reasons["slots"]
    assert "one slot for each" in on.command.reasons["slots"]


@pytest.mark.parametrize("value", ["yes", "8"])
def test_batching_is_on_or_off(host, value):
    with pytest.raises(UserMistake, match="must be on or off"):
        prepared(host, continuous_batching=value)


def test_an_option_of_another_engine_is_unknown(host):
    with pytest.raises(UnknownName, match="transformers option"):
        prepared(host, kv_cache_gib="1")


@pytest.mark.parametrize(
    ("quant", "own", "dtype"),
    [
        ("bf16", {}, "bfloat16"),
        ("bf16", {"dtype": "float32"}, "float32"),
        ("bnb-nf4", {}, "bfloat16"),
        ("bnb-nf4", {"dtype": "float16"}, "float16"),
        ("bnb-int8", {}, "float16"),
        ("int8-dynamic", {}, "float32"),
    ],
)
def test_the_type_is_the_recipes_the_hosts_or_the_users(host, quant, own, dtype):
    ready = prepared(host, quant, **own)
    assert words(ready).dtype == dtype
    assert ENGINE.precision(ready.command.argv, "") == Precision(dtype=dtype)


def test_four_bits_are_computed_in_float32_where_bfloat16_is_emulated(host):
    plain = dataclasses.replace(host, isa=("avx2",))
    assert words(prepared(plain, "bnb-nf4")).dtype == "float32"


def test_the_dynamic_product_is_float32s(host):
    with pytest.raises(UserMistake, match="float32 only"):
        prepared(host, "int8-dynamic", dtype="bfloat16")


@pytest.mark.parametrize("quant", ["gptq", "awq", "int8", "q8_0", "fp8-kv"])
def test_what_it_does_not_serve_is_refused_with_who_does(quant):
    with pytest.raises(UnsupportedPair, match="Engines that can: ") as caught:
        flags_for(ENGINE, recipe_named(quant))
    assert "transformers" not in caught.value.evidence.rpartition("Engines that can: ")[2]


@pytest.mark.parametrize("quant", ["int8-dynamic", "bnb-int8", "bnb-nf4"])
def test_no_other_engine_takes_what_is_quantized_at_load(quant):
    with pytest.raises(UnsupportedPair, match="vllm has no way to serve it"):
        flags_for(engine_named("vllm"), recipe_named(quant))


@pytest.fixture
def tiny():
    recipe = recipe_named("bnb-nf4")
    return dataclasses.replace(store.planned("tiny", recipe), path=source.tiny_folder())


def test_a_model_that_no_memory_holds_is_refused_with_numbers(host, tiny):
    small = dataclasses.replace(host, memory_bytes=2**20)
    with pytest.raises(NoSpace, match=r"needs \d+ MiB .* 1 MiB of memory in all"):
        prepared(small, "bnb-nf4", artefact=tiny)
    assert prepared(host, "bnb-nf4", artefact=tiny)


def test_without_bitsandbytes_its_quantizations_are_not_there(host, tiny, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(NotAvailable, match="bitsandbytes is not installed"):
        prepared(host, "bnb-nf4", artefact=tiny)


def names(found):
    return [one[0] for one in found]


def test_emulated_types_and_shared_scales_are_said_beforehand(host):
    def said(quant, on, isa=host.isa):
        spec = prepared(host, quant, continuous_batching=on).spec
        return names(ENGINE.warnings(dataclasses.replace(host, isa=isa), quant, spec))

    assert said("bf16", "off") == []
    assert said("bf16", "off", ("avx2",)) == ["emulated-kernel"]
    assert said("fp16", "off") == ["emulated-kernel"]
    assert said("int8-dynamic", "on") == ["masked-attention", "shared-scale"]


def test_int8_that_did_not_shrink_a_model_is_said_with_numbers(host):
    spec = prepared(host, "int8-dynamic").spec
    (found,) = ENGINE.remarks("int8-dynamic", spec, f"{FACTS}{json.dumps(GPT2)}\n")
    assert found[0] == "not-shrunk"
    assert "475 MiB of weights before, 512 MiB after" in found[1]
    assert "38.6 M weights became INT8" in found[2]
    assert "84.9 M in Conv1D" in found[2]
    shrunk = {**GPT2, "bytes": 165_919_744}
    assert ENGINE.remarks("int8-dynamic", spec, f"{FACTS}{json.dumps(shrunk)}\n") == ()


@pytest.mark.parametrize(
    ("product", "warned"),
    [
        ("bitsandbytes::gemv_4bit[libbitsandbytes_cpu]", ["fallback-kernel"]),
        ("bitsandbytes::gemv_4bit[kernels-community]", []),
        ("bitsandbytes::dequantize_4bit+aten::linear", ["fallback-kernel"]),
        ("bitsandbytes::int8_linear_matmul[float32]", ["fallback-kernel"]),
        ("bitsandbytes::int8_linear_matmul[torch._int_mm]", []),
    ],
)
def test_the_product_that_serves_is_named(host, product, warned):
    loaded = {"product": product, "attention": "sdpa", "dtype": "bfloat16"}
    log = f"{FACTS}{json.dumps(loaded)}\n{CACHE}" + json.dumps({"tokens": 512, "dtype": "bfloat16"})
    spec = prepared(host, "bnb-nf4").spec
    assert names(ENGINE.remarks("bnb-nf4", spec, log)) == warned
    assert ENGINE.kernels(log) == (product, "sdpa")
    assert ENGINE.served_with(log) == {
        "kernel": product,
        "kv_cache_dtype": "bfloat16",
        "kv_cache_tokens": 512,
    }


def test_a_log_without_the_line_tells_nothing(host):
    spec = prepared(host).spec
    assert ENGINE.kernels("") == ()
    assert ENGINE.remarks("fp32", spec, "") == ()
    assert set(ENGINE.served_with("").values()) == {None}


def test_no_key_is_on_the_command_line(host):
    options = ServeOptions(port=1, api_key_file=Path("key"))
    recipe = recipe_named("fp32")
    ready = prepare(ENGINE, recipe, store.planned("tiny", recipe), options, host=host, device="cpu")
    assert "@file:key" in ready.command.env.values()
    assert "key" not in ready.command.argv
