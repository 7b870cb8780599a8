"""What is held of weights that an engine quantizes as it loads them."""

from __future__ import annotations

import dataclasses

import pytest

from quantswarm.models import at_load, shapes, source, store, weight_parts
from quantswarm.models.planned_weights import of_shape
from quantswarm.models.recipes import recipe_named, recipes
from quantswarm.models.weight_parts import EMBEDDINGS, HEAD, LAYERS


@pytest.fixture
def tiny():
    artefact = store.planned("tiny", recipe_named("bf16"))
    return dataclasses.replace(artefact, path=source.tiny_folder())


def kinds(weights):
    return {part.component: part.kind for part in weights.parts if part.parameters}


def test_every_recipe_is_known():
    told = {
        r.name for r in recipes().values() if "--quantize" in r.serve_flags.get("transformers", ())
    }
    assert told == set(at_load.QUANTS)


@pytest.mark.parametrize(
    ("quant", "layers", "head"),
    [
        ("bf16", "bfloat16", "bfloat16"),
        ("int8-dynamic", "int8", "int8"),
        ("bnb-int8", "int8", "bfloat16"),
        ("bnb-nf4", "nf4", "bfloat16"),
    ],
)
def test_which_parts_are_quantized(tiny, quant, layers, head):
    found = kinds(at_load.of_artefact(dataclasses.replace(tiny, quant=quant)))
    assert found == {LAYERS: layers, HEAD: head, EMBEDDINGS: "bfloat16"}


def test_weights_are_neither_lost_nor_made(tiny):
    stored = weight_parts.of_artefact(tiny)
    for quant in at_load.QUANTS:
        found = at_load.held(stored, quant)
        assert found.multiplied() == stored.multiplied()
    whole = stored.read_bytes("float32")
    int8 = at_load.held(stored, "int8-dynamic").read_bytes("float32")
    assert whole is not None
    assert int8 is not None
    assert int8 < whole / 3.9


def test_a_shared_head_is_copied_and_conv1d_left(tiny):
    stored = weight_parts.of_artefact(tiny)
    parts = [p for p in stored.parts if p.component != HEAD]
    parts = [dataclasses.replace(p, read=True) if p.component == EMBEDDINGS else p for p in parts]
    tied = dataclasses.replace(stored, parts=tuple(parts))
    found = at_load.held(tied, "int8-dynamic", conv1d=True)
    assert kinds(found) == {LAYERS: "bfloat16", HEAD: "int8", EMBEDDINGS: "bfloat16"}
    assert found.multiplied() == tied.multiplied()
    assert sum(p.held_bytes("float32") for p in found.parts) > sum(
        p.held_bytes("float32") for p in tied.parts
    )
    assert kinds(at_load.held(tied, "bnb-nf4", conv1d=True))[LAYERS] == "nf4"


def test_loading_takes_the_whole_model_in_float32(tiny):
    whole = at_load.loading_bytes(dataclasses.replace(tiny, quant="fp32"), "float32")
    dynamic = at_load.loading_bytes(dataclasses.replace(tiny, quant="int8-dynamic"), "float32")
    four = at_load.loading_bytes(dataclasses.replace(tiny, quant="bnb-nf4"), "bfloat16")
    assert dynamic == whole
    assert four < whole / 4


def test_a_shape_is_reckoned_before_it_is_made():
    shape = shapes.named("synthetic/7b")
    plain, int8 = of_shape(shape, "fp32"), of_shape(shape, "int8-dynamic")
    assert plain is not None
    assert int8 is not None
    assert int8.parts == plain.parts
    assert kinds(at_load.held(int8, "int8-dynamic"))[LAYERS] == "int8"
