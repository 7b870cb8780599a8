"""Layers on the GPU: all, half, a number, none; each with its reason, none without a GPU."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from quantswarm.engines import llamacpp
from quantswarm.engines.gpu_layers import ALL, decide
from quantswarm.engines.hardware import Gpu, Host
from quantswarm.engines.prepare import Prepared, ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.models import layer_count, store
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import UserMistake
from quantswarm.models.recipes import recipe_named

HOST = Host(
    cpu="A CPU",
    isa=("avx2",),
    cores=(0, 1),
    core_groups=((0,), (1,)),
    memory_bytes=2**34,
    gpus=(Gpu(index=0, name="G", memory_bytes=1, driver="1", compute_capability="9.0"),),
)


def prepared(layers: str | None, quant: str = "q4_k_m", **options: str) -> Prepared:
    recipe = recipe_named(quant)
    return prepare(
        engine_named("llamacpp"),
        recipe,
        store.planned("synthetic/7b", recipe),
        ServeOptions(gpu_layers=layers, engine_options=options),
        host=HOST,
        device="cuda",
    )


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(llamacpp, "server_binary", lambda: None)


@pytest.mark.parametrize(
    ("asked", "flag", "why"),
    [
        (None, "all", "a GPU is present"),
        ("", "all", "a GPU is present"),
        ("all", "all", "asked for"),
        ("half", "16", "16 of 33, the output layer and the last of 32"),
        ("none", "0", "stay in main memory"),
        ("0", "0", "stay in main memory"),
        ("7", "7", "7 asked for"),
    ],
)
def test_a_share_becomes_a_number_with_its_reason(asked: str | None, flag: str, why: str) -> None:
    made = prepared(asked)
    argv = made.command.argv
    assert argv[argv.index("-ngl") + 1] == flag
    assert why in made.document()["reasons"]["gpu_layers"]
    assert argv[argv.index("-fit") + 1] == "off"


def test_half_of_a_model_that_is_not_known_is_refused() -> None:
    with pytest.raises(UserMistake, match="not known before its weights are made"):
        decide("half", no_gpu="", model_layers=None)
    assert decide(None, no_gpu="", model_layers=None).layers == ALL


@pytest.mark.parametrize("asked", ["half", "all", "3"])
def test_without_a_gpu_every_word_is_said_aloud(asked: str) -> None:
    found = decide(asked, no_gpu="NVML: not found", model_layers=32)
    assert found.layers == 0
    assert found.warning is not None
    assert asked in found.warning["seen"]
    assert found.warning["cause"] == "NVML: not found"


@pytest.mark.parametrize("asked", [None, "0", "none"])
def test_without_a_gpu_none_is_what_was_asked_for(asked: str | None) -> None:
    found = decide(asked, no_gpu="NVML: not found", model_layers=32)
    assert (found.layers, found.warning) == (0, None)


def test_flash_attention_is_declared_on_a_gpu_and_can_be_chosen() -> None:
    def chosen(made: Prepared) -> list[str]:
        argv = made.command.argv
        return [argv[at + 1] for at, word in enumerate(argv) if word == "-fa"]

    assert chosen(prepared("all")) == ["on"]
    assert chosen(prepared("all", quant="q8_0-kv")) == ["on"]
    assert chosen(prepared("none", flash_attention="auto")) == ["auto"]
    with pytest.raises(UserMistake, match="quantized values needs flash attention"):
        prepared("all", quant="q8_0-kv", flash_attention="off")
    with pytest.raises(UserMistake, match="flash_attention"):
        prepared("all", flash_attention="yes")


def test_on_a_cpu_attention_is_left_to_llama_cpp() -> None:
    recipe = recipe_named("q4_k_m")
    made = prepare(
        engine_named("llamacpp"),
        recipe,
        store.planned("synthetic/7b", recipe),
        ServeOptions(),
        host=dataclasses.replace(HOST, gpus=(), no_gpu_reason="none"),
        device="cpu",
    )
    assert not {"-fa", "-fit", "-ngl"} & set(made.command.argv)


LOG = """\
0.00.120.000 I ggml_cuda_init: found 1 CUDA devices (Total VRAM: 143771 MiB):
0.00.120.010 I   Device 0: NVIDIA H200, compute capability 9.0, VMM: no, VRAM: 143771 MiB
0.01.000.000 I load_tensors: offloading output layer to GPU
0.01.000.001 I load_tensors: offloading 15 repeating layers to GPU
0.01.000.002 I load_tensors: offloaded 16/33 layers to GPU
0.01.100.000 I llama_context: flash_attn            = enabled
"""
"""In the words of llama.cpp's sources (src/llama-model.cpp, ggml-cuda.cu); no run wrote it."""


def test_the_log_tells_layers_attention_and_device() -> None:
    told = engine_named("llamacpp").served_with(LOG)
    assert (told["gpu_layers"], told["flash_attention"]) == ("16/33", "enabled")
    assert "NVIDIA H200" in engine_named("llamacpp").kernels(LOG)
    assert "gpu_layers" not in engine_named("llamacpp").served_with("no GPU here")


def artefact(path: Path, form: str, model: str = "a model") -> Artefact:
    return Artefact(
        path=path,
        format=form,
        model=model,
        quant="q8_0",
        weights_bytes=0,
        sha256="",
        tokenizer=None,
        context_tokens=2048,
        random_weights=False,
    )


def test_layers_are_counted_from_what_there_is(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 8}))
    assert layer_count.layers_of(artefact(folder, "safetensors")) == 8
    (folder / "config.json").write_text("[]")
    assert layer_count.layers_of(artefact(folder, "safetensors")) is None
    missing = tmp_path / "missing.gguf"
    assert layer_count.layers_of(artefact(missing, "gguf")) is None
    assert layer_count.layers_of(artefact(missing, "gguf", "synthetic/7b")) == 32
    assert layer_count.layers_of(artefact(missing, "gguf", "synthetic/none")) is None
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    assert layer_count.layers_of(artefact(broken, "gguf")) is None
