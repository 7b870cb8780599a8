"""A model of GPT-2's architecture: transformers knows every tensor of it, others refuse it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from quantswarm.engines import prepare
from quantswarm.models import (
    gpt2_shape,
    hf_folder,
    planned_weights,
    safetensors_file,
    shapes,
    source,
    store,
    synthetic,
    weight_parts,
)
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import UnsupportedPair
from quantswarm.models.gpt2_shape import GPT2, Gpt2Shape
from quantswarm.models.recipes import recipe_named
from quantswarm.models.weight_parts import EMBEDDINGS, HEAD, LAYERS, NORMS, OTHER

SMALL = Gpt2Shape(
    name="small-gpt2",
    after="nothing",
    vocabulary=2304,
    width=128,
    layers=2,
    heads=2,
    context_tokens=64,
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> ModelSource:
    monkeypatch.setattr(shapes, "SHAPES", {**shapes.SHAPES, SMALL.name: SMALL})
    return synthetic.source(SMALL)


def folder_of(model: ModelSource) -> Path:
    assert model.folder is not None
    return model.folder


def test_it_has_the_parameters_of_gpt2() -> None:
    assert GPT2.parameters == 124_439_808
    assert len(list(GPT2.tensors())) == 2 + 12 * 12 + 2
    assert (GPT2.head_size, GPT2.kv_heads) == (64, 12)


def test_it_is_listed_and_named_by_near_misses() -> None:
    assert "synthetic/gpt2" in shapes.names()
    with pytest.raises(Exception, match=r"Did you mean synthetic/gpt2"):
        source.resolve("synthetic/gpt-2")


def test_norms_are_one_biases_zero_and_silent_rows_of_the_embeddings_zero(
    small: ModelSource,
) -> None:
    found = hf_folder.inspect(folder_of(small), "a test")
    tensors = {entry.name: entry for entry in found.tensors}
    assert {(name, entry.shape) for name, entry in tensors.items()} == set(SMALL.tensors())

    def values(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        raw = safetensors_file.read_raw(tensors[name])
        return np.asarray(safetensors_file.as_float32(raw, "BF16"))

    assert np.all(values("transformer.ln_f.weight") == 1)
    assert np.all(values("transformer.h.1.attn.c_attn.bias") == 0)
    assert np.abs(values("transformer.h.1.mlp.c_fc.weight")).min() >= 2.0**-7
    speaking = (values(SMALL.head) != 0).max(axis=1)
    assert 1500 < speaking.sum() < 2304
    assert not speaking[found.config["eos_token_id"]].any()


@pytest.mark.engines
def test_transformers_finds_every_tensor_and_no_other(small: ModelSource) -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    model, told = transformers.GPT2LMHeadModel.from_pretrained(
        folder_of(small), output_loading_info=True, dtype=torch.float32
    )
    assert not any(told.values()), told
    assert sum(parameter.numel() for parameter in model.parameters()) == small.parameters
    assert model.transformer.h[0].mlp.c_fc.__class__.__name__ == "Conv1D"
    assert model.lm_head.weight is model.transformer.wte.weight
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[5, 9, 11]])).logits
    assert logits.shape == (1, 3, 2304)
    assert torch.isfinite(logits).all()


def test_its_parts_are_its_file_and_the_plan(small: ModelSource) -> None:
    found = weight_parts.of_folder(hf_folder.inspect(folder_of(small), "a test"))
    planned = planned_weights.of_shape(SMALL, "bf16")
    assert planned is not None
    assert planned.parts == found.parts
    assert found.stored_bytes == 2 * SMALL.parameters
    assert not found.unknown
    assert (found.kv_elements, found.attention_width) == (2 * 2 * 128, 2 * 128)
    positions = 2 * math.prod((SMALL.context_tokens, SMALL.width))
    assert found.read_bytes() == found.stored_bytes - positions
    assert found.multiplied(HEAD) == SMALL.vocabulary * SMALL.width
    assert planned_weights.of_shape(SMALL, "int8") is None


@pytest.mark.parametrize("prefix", ["transformer.", ""])
@pytest.mark.parametrize(
    ("name", "dimensions", "component"),
    [
        ("wte.weight", 2, EMBEDDINGS),
        ("wpe.weight", 2, OTHER),
        ("h.3.ln_1.weight", 1, NORMS),
        ("h.3.ln_2.bias", 1, NORMS),
        ("ln_f.bias", 1, NORMS),
        ("h.3.attn.c_attn.weight", 2, LAYERS),
        ("h.3.mlp.c_proj.bias", 1, LAYERS),
        ("h.3.attn.bias", 4, OTHER),
    ],
)
def test_names_of_the_hubs_checkpoints_are_known_too(
    prefix: str, name: str, dimensions: int, component: str
) -> None:
    assert weight_parts.component_of(prefix + name, dimensions) == component


def test_the_cache_is_reckoned_from_gpt2s_own_keys(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(SMALL.config(0, [1])))
    assert prepare._kv_elements(path) == 2 * 2 * 128
    path.write_text("{}")
    assert prepare._kv_elements(path) is None


@pytest.mark.parametrize(
    ("quant", "message"),
    [
        ("f16", f"its architecture is {gpt2_shape.ARCHITECTURE}, which the converter does not"),
        ("q4_0", f"its architecture is {gpt2_shape.ARCHITECTURE}, which the converter does not"),
        ("int8", "no matrices were found under names like model.layers"),
        ("awq", "no matrices were found under names like model.layers"),
    ],
)
def test_what_cannot_be_made_of_it_is_refused(
    small: ModelSource, quantizers: Path, quant: str, message: str
) -> None:
    with pytest.raises(UnsupportedPair, match=message):
        store.artefact(small, recipe_named(quant))
