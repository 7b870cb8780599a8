"""Bytes by component: the sums are the files' own, and what is planned is what gets made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from quantswarm.models import (
    gguf_file,
    hf_folder,
    planned_weights,
    shapes,
    source,
    store,
    weight_parts,
)
from quantswarm.models.artefact import ModelSource
from quantswarm.models.quantize.settings import VARIABLE
from quantswarm.models.recipes import recipe_named
from quantswarm.models.weight_parts import EMBEDDINGS, HEAD, LAYERS, NORMS, OTHER, Weights

MIB = 2**20
USERS_HOME = store.home()
"""Taken at import, before a fixture gives each test a home of its own."""

pytestmark = pytest.mark.usefixtures("_micro_shape")


def folder_of(path: Path) -> Weights:
    return weight_parts.of_folder(hf_folder.inspect(path, "a test"))


def headers(path: Path) -> int:
    """Bytes of the safetensors files that are no tensor's."""
    found = hf_folder.inspect(path, "a test")
    return sum(
        min(entry.start for entry in found.tensors if entry.path == shard) for shard in found.shards
    )


def bytes_in(weights: Weights, component: str) -> int:
    return sum(part.stored_bytes for part in weights.parts if part.component == component)


def test_the_parts_of_tiny_are_its_file(tiny_folder: Path) -> None:
    found = folder_of(tiny_folder)
    file = tiny_folder / "model.safetensors"
    assert found.stored_bytes + headers(tiny_folder) == file.stat().st_size
    assert [part.component for part in found.parts] == [LAYERS, EMBEDDINGS, HEAD, NORMS]
    assert {part.kind for part in found.parts} == {"bfloat16"}
    assert bytes_in(found, EMBEDDINGS) == 2048 * 256 * 2
    assert found.read_bytes() == found.stored_bytes - bytes_in(found, EMBEDDINGS)
    assert found.read_bytes("float32") == 2 * (found.read_bytes() or 0)
    assert (found.kv_elements, found.attention_width) == (2 * 8 * 2 * 64, 8 * 4 * 64)
    assert found.multiplied() == bytes_in(found, LAYERS) // 2 + 2048 * 256
    assert found.multiplied(HEAD) == 2048 * 256


def test_a_tied_head_reads_the_embeddings(tiny_folder: Path) -> None:
    whole = hf_folder.inspect(tiny_folder, "a test")
    tied = SimpleNamespace(
        config={**whole.config, "tie_word_embeddings": True},
        tensors=tuple(entry for entry in whole.tensors if entry.name != "lm_head.weight"),
    )
    found = weight_parts.of_folder(tied)  # type: ignore[arg-type] # only what it looks at
    assert found.read_bytes() == found.stored_bytes
    assert found.multiplied(HEAD) == 2048 * 256
    assert found.multiplied() == folder_of(tiny_folder).multiplied()


@pytest.mark.parametrize("quant", ["gptq", "awq", "int8", "fp8", "w4a16"])
def test_what_is_planned_is_what_a_quantizer_makes(
    micro: ModelSource, quantizers: Path, monkeypatch: pytest.MonkeyPatch, quant: str
) -> None:
    monkeypatch.setenv(VARIABLE, "rows=2 tokens=16")
    made = store.artefact(micro, recipe_named(quant))
    found = weight_parts.of_artefact(made)
    planned = planned_weights.of_shape(shapes.named("synthetic/micro"), quant)
    assert found.stored_bytes + headers(made.path) == made.weights_bytes
    assert planned is not None
    assert planned.parts == found.parts
    assert planned.multiplied() == found.multiplied() == folder_of(micro_of(micro)).multiplied()


def micro_of(micro: ModelSource) -> Path:
    assert micro.folder is not None
    return micro.folder


def test_quantized_layers_leave_embeddings_and_head_as_they_were(
    micro: ModelSource, quantizers: Path
) -> None:
    """Why INT8 does not halve a small model: its head and embeddings are bfloat16 still."""
    found = weight_parts.of_artefact(store.artefact(micro, recipe_named("int8")))
    before = folder_of(micro_of(micro))
    assert bytes_in(found, HEAD) == bytes_in(before, HEAD)
    assert bytes_in(found, EMBEDDINGS) == bytes_in(before, EMBEDDINGS)
    assert bytes_in(found, LAYERS) < 0.52 * bytes_in(before, LAYERS)


def test_a_gguf_file_and_its_plan(micro: ModelSource) -> None:
    made = store.artefact(micro, recipe_named("f16"))
    found = weight_parts.of_artefact(made)
    planned = planned_weights.of_shape(shapes.named("synthetic/micro"), "f16")
    header = gguf_file.read(made.path)
    assert 0 < made.weights_bytes - found.stored_bytes < MIB
    assert found.stored_bytes == sum(tensor.size_bytes for tensor in header.tensors)
    assert planned is not None
    assert planned.parts == found.parts
    assert (planned.kv_elements, planned.attention_width) == (
        found.kv_elements,
        found.attention_width,
    )


@pytest.fixture
def quantizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real llama-quantize, which set-up builds under the user's own home."""
    built = USERS_HOME / "llama.cpp" / "current" / "bin" / "llama-quantize"
    given = os.environ.get("LLAMA_QUANTIZE_BIN") or shutil.which("llama-quantize")
    if given is None and not built.is_file():
        pytest.skip("llama-quantize is not here: make setup builds it")
    monkeypatch.setenv("LLAMA_QUANTIZE_BIN", given or str(built))


@pytest.mark.engines
@pytest.mark.usefixtures("quantizer")
def test_types_are_mixed_as_llama_quantize_mixes_them(tiny_folder: Path) -> None:
    config = hf_folder.inspect(tiny_folder, "a test").config
    shape = shapes.Shape(
        name="tiny",
        after="tiny",
        vocabulary=config["vocab_size"],
        width=config["hidden_size"],
        feed_forward=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        head_size=config["head_dim"],
        context_tokens=2048,
    )
    for quant in ("q4_0", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k", "q8_0", "bf16-gguf"):
        made = store.artefact(source.resolve("tiny"), recipe_named(quant))
        planned = planned_weights.of_shape(shape, quant)
        assert planned is not None
        assert planned.parts == weight_parts.of_artefact(made).parts, quant


def test_every_plain_shape_has_its_parameters() -> None:
    for shape in shapes.SHAPES.values():
        planned = planned_weights.of_shape(shape, "bf16")
        assert planned is not None
        assert planned.stored_bytes == 2 * shape.parameters


@pytest.mark.parametrize("quant", ["q2_k", "iq3_s", "q3_k_m"])
def test_a_layout_that_is_not_known_is_not_guessed(quant: str) -> None:
    assert planned_weights.of_shape(shapes.named("synthetic/7b"), quant) is None


def test_experts_and_strange_names_are_said() -> None:
    experts = weight_parts._unknown((), ["model.layers.0.block_sparse_moe.experts.0.w1.weight"])
    strange = weight_parts._unknown((), ["transformer.h.0.attn.c_attn.weight"])
    assert "experts" in experts
    assert "not named" in strange


@pytest.mark.parametrize(
    ("name", "dimensions", "component"),
    [
        ("model.embed_tokens.weight", 2, EMBEDDINGS),
        ("token_embd.weight", 2, EMBEDDINGS),
        ("lm_head.qweight", 2, HEAD),
        ("output.weight", 2, HEAD),
        ("output_norm.weight", 1, NORMS),
        ("model.norm.weight", 1, NORMS),
        ("model.layers.3.input_layernorm.weight", 1, NORMS),
        ("blk.3.attn_norm.weight", 1, NORMS),
        ("model.layers.3.self_attn.q_proj.bias", 1, LAYERS),
        ("blk.12.ffn_down.weight", 2, LAYERS),
        ("rope_freqs.weight", 1, OTHER),
        ("visual.blocks.0.norm1.weight", 1, OTHER),
    ],
)
def test_names_tell_the_component(name: str, dimensions: int, component: str) -> None:
    assert weight_parts.component_of(name, dimensions) == component
