"""The recipes on the embedded model, with the real libraries: what docs/quantizing.md states.

    pytest -s tests/models/quantize/test_on_tiny.py

prints each method's error and held-out perplexity.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantswarm.models import hf_folder, source, store
from quantswarm.models.artefact import Artefact
from quantswarm.models.quantize import check, finish, nearest
from quantswarm.models.quantize.tensors import Checkpoint
from quantswarm.models.recipes import recipe_named

pytestmark = [pytest.mark.engines, pytest.mark.timeout(900)]

USERS_HOME = store.home()
"""Taken at import, before a fixture gives each test a home of its own."""
TOKENS, WINDOW = 30_720, 512
Make = Callable[[str], Artefact]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """`tiny` by a recipe, built once for all tests of this file."""
    if not (USERS_HOME / "quantizers" / "current").exists():
        pytest.skip("the quantizers' environment is not here: make setup makes it")
    home = tmp_path_factory.mktemp("quantized")
    (home / "quantizers").mkdir()
    (home / "quantizers" / "current").symlink_to(USERS_HOME / "quantizers" / "current")

    def make(quant: str) -> Artefact:
        before = os.environ.get("QUANTSWARM_HOME")
        os.environ["QUANTSWARM_HOME"] = str(home)
        try:
            return store.artefact(source.resolve("tiny"), recipe_named(quant))
        finally:
            os.environ.pop("QUANTSWARM_HOME")
            if before is not None:
                os.environ["QUANTSWARM_HOME"] = before

    return make


def checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint(hf_folder.inspect(folder, str(folder)))


def weights(folder: Path, method: str | None) -> dict[str, Any]:
    """Every tensor of a checkpoint in float32, quantized layers as they are served."""
    found = checkpoint(folder)
    layers = check.quantized_layers(found, method) if method else ()
    inside = {f"{layer}.{part}" for layer in layers for part in found.parts(layer)}
    plain = {name: found.float32(name) for name in found.entries if name not in inside}
    served = {
        f"{layer}.weight": check.dequantized(found, layer, str(method))[0] for layer in layers
    }
    return {**plain, **served}


def rounded(symmetric: bool) -> dict[str, Any]:
    """The original with its matrices rounded to nearest, in the same groups of 128."""
    original = checkpoint(source.tiny_folder())
    found = {name: original.float32(name) for name in original.entries}
    for layer in check.linear_layers(original):
        near = nearest.four_bit(found[f"{layer}.weight"], 128, symmetric=symmetric)
        found[f"{layer}.weight"] = near.dequantized()
    return found


def perplexity(tensors: Mapping[str, Any]) -> float:
    """Of the first tokens of the held-out text, by transformers in float32."""
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = source.tiny_folder()
    config = LlamaConfig.from_pretrained(folder, dtype="float32")
    model = LlamaForCausalLM(config).float().eval()
    state = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in tensors.items()}
    model.load_state_dict(state)
    text = (folder / "held_out.txt").read_text(encoding="utf-8")
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids[:TOKENS]
    rows = torch.tensor(ids[: len(ids) // WINDOW * WINDOW]).reshape(-1, WINDOW)
    with torch.inference_mode():
        losses = [float(model(part, labels=part).loss) for part in rows.split(6)]
    return math.exp(sum(losses) / len(losses))


def facts(made: Artefact) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made.path / finish.PROVENANCE).read_text())
    return found


@pytest.fixture(scope="module")
def unquantized() -> float:
    return perplexity(weights(source.tiny_folder(), None))


@pytest.mark.parametrize("quant", ["gptq", "awq", "int8", "fp8", "w4a16"])
def test_a_recipe_makes_what_it_says(made: Make, quant: str, unquantized: float) -> None:
    artefact = made(quant)
    told = facts(artefact)
    assert len(told["layers"]) == 56
    ratios = [layer["relative_error"] / layer["nearest_error"] for layer in told["layers"]]
    assert max(ratios) < check.MARGIN[quant]
    found = perplexity(weights(artefact.path, quant))
    errors = [layer["relative_error"] for layer in told["layers"]]
    print(
        f"\n{quant}: error {min(errors):.4f} to {max(errors):.4f}, {np.mean(ratios):.3f} of"
        f" nearest; perplexity {found:.4f}, unquantized {unquantized:.4f};"
        f" {told['took_s']} s; {artefact.weights_bytes:,} bytes"
    )
    assert unquantized - 0.02 < found < unquantized * (1.01 if "8" in quant else 1.10)
    again = source.resolve(str(artefact.path))
    assert again.quantized is not None
    assert again.quantized.quant == quant


@pytest.mark.parametrize(("quant", "symmetric"), [("gptq", True), ("awq", False)])
def test_calibration_beats_rounding_to_nearest(made: Make, quant: str, symmetric: bool) -> None:
    calibrated = perplexity(weights(made(quant).path, quant))
    near = perplexity(rounded(symmetric))
    print(f"\n{quant}: perplexity {calibrated:.4f}, rounded to nearest {near:.4f}")
    assert calibrated < near


@pytest.mark.parametrize("quant", ["gptq", "awq", "int8", "fp8", "w4a16"])
def test_vllm_reads_the_config(made: Make, quant: str) -> None:
    """Its own compressed-tensors is older than the one that writes."""
    pytest.importorskip("vllm")
    from vllm.model_executor.layers.quantization import get_quantization_config

    config = json.loads((made(quant).path / "config.json").read_text())["quantization_config"]
    found = get_quantization_config(config["quant_method"]).from_config(config)
    assert found is not None
