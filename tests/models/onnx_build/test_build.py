"""What is refused before an export, and what is refused of an export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantswarm.models import source, store
from quantswarm.models.errors import BuildFailed, NoSpace, UnsupportedPair
from quantswarm.models.onnx_build.build import LARGEST, architectures, require_right
from quantswarm.models.onnx_build.driver import apart
from quantswarm.models.recipes import recipe_named, recipes

ONNX = [recipe.name for recipe in recipes().values() if recipe.format == "onnx"]
RIGHT: dict[str, Any] = {
    "versions": {"onnxruntime": "1"},
    "check": {"relative_error": 0.0},
    "other_ids": "",
}


def test_the_recipes_are_here() -> None:
    assert {"onnx-fp32", "onnx-int8", "onnx-int4"} <= {*ONNX}


def test_a_gguf_is_not_exported(tmp_path: Path) -> None:
    model = replace(source.resolve("tiny"), folder=None, gguf=tmp_path / "a.gguf")
    with pytest.raises(UnsupportedPair, match="GGUF"):
        recipe_named("onnx-fp32").build(model, tmp_path)


def test_a_model_that_does_not_fit_is_refused_with_figures(tmp_path: Path) -> None:
    model = replace(source.resolve("tiny"), parameters=10**15)
    with pytest.raises(NoSpace, match=r"onnx-int8 of tiny: needs .* of memory"):
        recipe_named("onnx-int8").build(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_builder_tells_what_it_knows() -> None:
    known = architectures("a test")
    assert {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"} <= {*known}
    assert "GPT2LMHeadModel" not in known


def test_another_architecture_is_refused_before(tiny_copy: Path, tmp_path: Path) -> None:
    config = tiny_copy / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "GPT2LMHeadModel"))
    model = source.from_folder(tiny_copy, name="other")
    with pytest.raises(UnsupportedPair, match=r"knows no GPT2LMHeadModel[\s\S]*LlamaForCausalLM"):
        recipe_named("onnx-int4").build(model, tmp_path)


@pytest.fixture
def tiny_copy(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in source.tiny_folder().iterdir():
        if path.suffix in (".json", ".safetensors"):
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_block_size_is_part_of_the_key_of_those_that_have_blocks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path))
    before = {name: store.planned("tiny", recipe_named(name)).path for name in ONNX}
    monkeypatch.setenv("QUANTSWARM_QUANTIZE", "group_size=64")
    after = {name: store.planned("tiny", recipe_named(name)).path for name in ONNX}
    changed = {name for name in ONNX if before[name] != after[name]}
    assert changed == {"onnx-int4", "onnx-int8-block"}


def test_an_export_that_computes_something_else_is_refused() -> None:
    require_right("int4", RIGHT, "a test")
    for how, most in LARGEST.items():
        for error in (most * 1.01, float("nan")):
            with pytest.raises(BuildFailed, match="from the original's"):
                require_right(how, {**RIGHT, "check": {"relative_error": error}}, "a test")


def test_an_export_that_cuts_text_otherwise_is_refused() -> None:
    with pytest.raises(BuildFailed, match="other token ids"):
        require_right("fp32", {**RIGHT, "other_ids": "'a': …"}, "a test")


def test_logits_of_other_weights_are_far_apart() -> None:
    chance = np.random.default_rng(0)
    one, two = (chance.normal(size=(9, 50)) for _ in range(2))
    same = apart([one], [one + 3.0])  # a constant in a row changes no probability
    assert same["relative_error"] == pytest.approx(0, abs=1e-12)
    assert same["kl_mean"] == pytest.approx(0, abs=1e-12)
    assert same["top1_agreement"] == 1
    assert apart([one], [two])["relative_error"] > max(LARGEST.values())
