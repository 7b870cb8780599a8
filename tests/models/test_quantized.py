"""Ready-made checkpoints: recognised by their config, served as they are, or refused by name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from quantswarm.models import quantized, source, store
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import BadFile, QuantswarmError, UnsupportedPair
from quantswarm.models.quantize.settings import VARIABLE
from quantswarm.models.recipes import recipe_named

GPTQ: dict[str, Any] = {
    "quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": False
}  # fmt: skip


def packed(layout: str, bits: int = 4) -> dict[str, Any]:
    """compressed-tensors' config for whole numbers in groups."""
    weights = {"type": "int", "num_bits": bits, "group_size": 128, "strategy": "group"}
    group = {"weights": weights, "input_activations": {"num_bits": 8} if bits == 8 else None}
    return {"quant_method": "compressed-tensors", "format": layout, "config_groups": {"g": group}}


@pytest.fixture
def folder(
    micro: ModelSource, quantizers: Path, request: pytest.FixtureRequest, monkeypatch: Any
) -> Path:
    """A GPTQ checkpoint (or what the test's parameter says), as if it came from elsewhere."""
    monkeypatch.setenv(VARIABLE, "rows=2 tokens=16")
    made = store.artefact(micro, recipe_named(getattr(request, "param", "gptq")))
    return made.path


def changed(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"].update(changes)
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("folder", ["gptq", "awq", "int8", "fp8", "w4a16"], indirect=True)
def test_it_is_served_as_it_is_and_as_nothing_else(folder: Path) -> None:
    found = source.resolve(str(folder))
    assert found.quantized is not None
    own = found.quantized.quant
    assert store.artefact(found, recipe_named(own)).path == folder
    assert store.planned(str(folder), recipe_named(own)).path == folder
    others = {"gptq", "awq", "int8", "bf16", "q8_0"} - {own}
    for other in others:
        with pytest.raises(UnsupportedPair, match=f"{own} already") as caught:
            store.artefact(found, recipe_named(other))
        assert f"--quant {own}" in str(caught.value)
        with pytest.raises(UnsupportedPair):
            store.planned(str(folder), recipe_named(other))


def test_ordinary_weights_are_not_quantized(micro: ModelSource) -> None:
    assert micro.quantized is None
    quantized.require_same(None, "bf16", "x")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"quant_method": "bitsandbytes"}, "'bitsandbytes', which no engine"),
        ({"quant_method": "exl2"}, "'exl2', which no engine"),
        ({"quant_method": "hqq"}, "'hqq', which no engine"),
        ({}, "without a name"),
        ({"quant_method": "gptq", "bits": 3}, "GPTQ with 3 bits"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "layout 'marlin'"),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "layout 'gemv'"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 0}, "group_size is 0"),
        ({"quant_method": "gptq", "bits": 4}, "group_size is None"),
        (GPTQ | {"sym": False}, "GPTQ with zero points"),
        (GPTQ | {"sym": None}, "says sym: None"),
        ({name: GPTQ[name] for name in GPTQ if name != "desc_act"}, "says desc_act: None"),
        (GPTQ | {"dynamic": {"+:.*up.*": {"bits": 8}}}, "with bits that differ by layer"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "says zero_point: None"),
        ({"quant_method": "compressed-tensors"}, "no config_groups"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"type": "float", "num_bits": 4}}},
            },
            "4-bit float weights and 16-bit activations",
        ),
        (packed("int-quantized"), "w4a16 in the layout 'int-quantized'"),
        (packed("int-quantized", bits=8), "int8 with one scale a group"),
        ([], "no object"),
    ],
)
def test_what_is_not_served_is_refused_by_name(micro_folder: Path, config: Any, words: str) -> None:
    path = micro_folder / "config.json"
    whole = {**json.loads(path.read_text()), "quantization_config": config}
    path.write_text(json.dumps(whole))
    with pytest.raises(QuantswarmError, match=words):
        source.resolve(str(micro_folder))


def test_a_group_size_that_does_not_divide(folder: Path) -> None:
    changed(folder, group_size=96)
    with pytest.raises(UnsupportedPair, match="groups of 96 do not divide the 256 inputs"):
        source.resolve(str(folder))


def test_a_group_size_that_is_not_the_weights_own(folder: Path) -> None:
    changed(folder, group_size=64)
    with pytest.raises(BadFile, match=r"has 2 groups, its config says 4 \(of 64\)"):
        source.resolve(str(folder))


@pytest.mark.parametrize("folder", ["w4a16"], indirect=True)
def test_packed_groups_are_checked_too(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    config["config_groups"]["group_0"]["weights"]["group_size"] = 96
    changed(folder, **config)
    with pytest.raises(UnsupportedPair, match="groups of 96"):
        source.resolve(str(folder))


def test_groups_in_another_order_are_noticed_and_left_to_the_engine(folder: Path) -> None:
    def reordered() -> bool:
        found = source.resolve(str(folder)).quantized
        assert found is not None
        return found.reordered

    assert not reordered()
    changed(folder, desc_act=True)
    assert reordered()
    changed(folder, desc_act=False, dynamic={"-:.*lm_head.*": {}})
    assert not reordered()


def test_a_config_without_its_weights(micro_folder: Path) -> None:
    path = micro_folder / "config.json"
    whole = {**json.loads(path.read_text()), "quantization_config": GPTQ}
    path.write_text(json.dumps(whole))
    with pytest.raises(BadFile, match="no GPTQ weights"):
        source.resolve(str(micro_folder))


def test_truncated_weights_are_refused(folder: Path) -> None:
    shard = folder / "model.safetensors"
    os.truncate(shard, shard.stat().st_size - 100)
    with pytest.raises(BadFile, match="truncated"):
        source.resolve(str(folder))


def test_a_missing_part_is_refused_without_an_index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(BadFile, match="1 of 2 weight files are missing"):
        source.resolve(str(folder))
