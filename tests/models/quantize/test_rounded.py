"""Checkpoints rounded by numpy alone: right layouts, recognised, as small as planned."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quantswarm.models import hf_folder, planned_weights, shapes, source, store, weight_parts
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import BuildFailed, UnsupportedPair
from quantswarm.models.quantize import check, finish, nearest, rounded
from quantswarm.models.quantize.tensors import Checkpoint
from quantswarm.models.recipes import recipe_named

QUANTS = ("gptq-nearest", "awq-nearest", "fp8-nearest")
ALL = pytest.mark.parametrize("quant", QUANTS)
RANGE = st.floats(-448, 448, width=32)


@given(arrays.arrays(np.float32, 64, elements=RANGE))
def test_a_byte_is_the_nearest_e4m3_value(values: np.ndarray) -> None:
    table = nearest.e4m3()
    given_back = table[nearest.e4m3_codes(values)]
    finite = table[np.isfinite(table)]
    least = np.abs(values[:, None] - finite[None]).min(axis=1)
    assert np.array_equal(np.abs(given_back - values), least)


def test_every_e4m3_value_keeps_its_byte_and_halves_go_to_the_even_one() -> None:
    table = nearest.e4m3()
    codes = np.array([code for code in range(256) if np.isfinite(table[code])], np.uint8)
    assert np.array_equal(nearest.e4m3_codes(table[codes]), codes)
    positive = table[:127]
    halves = ((positive[:-1] + positive[1:]) / 2).astype(np.float32)
    assert np.all(nearest.e4m3_codes(halves) % 2 == 0)


@ALL
def test_every_layer_is_rounded_to_nearest_and_the_rest_untouched(
    micro: ModelSource, quant: str
) -> None:
    made = store.artefact(micro, recipe_named(quant))
    assert micro.folder is not None
    before = Checkpoint(hf_folder.inspect(micro.folder, "before"))
    after = Checkpoint(hf_folder.inspect(made.path, "after"))
    method = quant.removesuffix("-nearest")
    told = check.layers(after, before, method, group_size=128, symmetric=method != "awq")
    assert len(told) == 7
    for facts in told:
        assert facts["relative_error"] == pytest.approx(facts["nearest_error"], rel=5e-3)
    for name in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"):
        assert np.array_equal(after.raw(name), before.raw(name))
    assert (made.path / "tokenizer.json").is_file()
    account = json.loads((made.path / finish.PROVENANCE).read_text())
    assert account["method"] == quant
    errors = {facts["layer"]: facts["relative_error"] for facts in account["layers"]}
    assert errors == pytest.approx({f["layer"]: f["relative_error"] for f in told}, rel=5e-3)


@pytest.mark.usefixtures("_micro_shape")
@ALL
def test_it_is_recognised_as_what_it_imitates_and_planned_to_the_byte(
    micro: ModelSource, quant: str
) -> None:
    made = store.artefact(micro, recipe_named(quant))
    found = source.resolve(str(made.path)).quantized
    assert found is not None
    assert found.quant == quant.removesuffix("-nearest")
    planned = planned_weights.of_shape(shapes.named("synthetic/micro"), quant)
    assert planned is not None
    assert planned.parts == weight_parts.of_artefact(made).parts


@pytest.mark.parametrize("threads", [1, 3])
def test_what_threads_make_comes_in_order(threads: int) -> None:
    jobs = [lambda n=n: [np.full(2, n), np.full(1, -n)] for n in range(7)]
    made = [int(array[0]) for array in rounded._in_order(jobs, threads)]
    assert made == [sign * n for n in range(7) for sign in (1, -1)]


@pytest.mark.parametrize(("free", "threads"), [(None, 3), (10, 1), (250, 2), (10_000, 3)])
def test_no_more_threads_than_the_memory_holds(
    monkeypatch: pytest.MonkeyPatch, free: int | None, threads: int
) -> None:
    monkeypatch.setattr(rounded, "available_memory_bytes", lambda: free)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    assert rounded._threads(100) == threads


def test_a_gguf_file_and_weights_that_are_no_numbers_are_refused(
    micro: ModelSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = recipe_named("awq-nearest")
    gguf = replace(micro, name="m.gguf", folder=None)
    with pytest.raises(UnsupportedPair, match="not converted back"):
        recipe.build(gguf, tmp_path)
    monkeypatch.setattr(check, "relative_error", lambda *_: float("nan"))
    with pytest.raises(BuildFailed, match="no numbers"):
        recipe.build(micro, tmp_path)
