"""The command of every engine × quantization × device, held to the letter in golden/*.json.

After a wanted change: QUANTSWARM_WRITE_GOLDEN=1 pytest tests/engines/test_golden.py, then read the
difference. A new engine or quantization needs no file here; it gets one when it is written so.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from quantswarm.engines import llamacpp
from quantswarm.engines.hardware import Gpu, Host
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named, engines, loads
from quantswarm.models.artefact import Artefact
from quantswarm.models.recipes import recipe_named, recipes

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("QUANTSWARM_WRITE_GOLDEN") == "1"
PAIRS = [
    f"{engine.name}--{recipe.name}--{device}"
    for engine in engines().values()
    for recipe in recipes().values()
    for device in ("cpu", "cuda")
    if loads(engine, recipe) and device in recipe.devices
]
CASES = PAIRS if WRITE else sorted(file.stem for file in GOLDEN.glob("*.json"))
GPU = Gpu(
    index=0, name="A GPU", memory_bytes=80 * 1024**3, driver="580.1", compute_capability="9.0"
)


def host(device):
    cores = tuple(range(2 if device == "cpu" else 16))
    return Host(
        cpu="A CPU",
        isa=("avx2", "avx512f", "avx512_bf16"),
        cores=cores,
        core_groups=tuple((core,) for core in cores),
        memory_bytes=24 * 1024**3,
        gpus=(GPU,) if device == "cuda" else (),
        no_gpu_reason="" if device == "cuda" else "NVML: not found",
    )


def artefact(recipe):
    return Artefact(
        path=Path("weights") / recipe.name,
        format=recipe.format,
        model="tiny",
        quant=recipe.name,
        weights_bytes=0,
        sha256="",
        tokenizer=None,
        context_tokens=2048,
        random_weights=False,
    )


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(llamacpp, "server_binary", lambda: None)
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", "llama.cpp/bin")


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("case", CASES)
def test_command(case):
    engine_name, quant, device = case.split("--")
    recipe = recipe_named(quant)
    options = ServeOptions(users=8, api_key_file=Path("key"))
    prepared = prepare(
        engine_named(engine_name),
        recipe,
        artefact(recipe),
        options,
        host=host(device),
        device=device,
    )
    document = {key: prepared.document()[key] for key in ("argv", "env", "reasons")}
    document["argv"] = ["python" if word == sys.executable else word for word in document["argv"]]
    file = GOLDEN / f"{case}.json"
    if WRITE:
        file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    assert document == json.loads(file.read_text())


def test_no_case_is_lost():
    assert {"vllm--bf16--cpu", "vllm--fp32--cuda", "llamacpp--q4_k_m--cpu"} <= set(CASES)
    assert {case.split("--")[0] for case in CASES} >= {"vllm", "llamacpp", "llamacpp-python"}
