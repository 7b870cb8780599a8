"""What manifests keep of how weights were quantized: made here, ready-made, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantswarm.models import provenance, store
from quantswarm.models.artefact import Artefact, ModelSource
from quantswarm.models.quantize.settings import VARIABLE
from quantswarm.models.recipes import recipe_named


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    """A checkpoint that came from elsewhere, by its config alone."""

    def make(**config: Any) -> Artefact:
        text = json.dumps({"quantization_config": config} if config else {})
        (tmp_path / "config.json").write_text(text)
        return Artefact(
            path=tmp_path,
            format="gptq",
            model="m",
            quant="gptq",
            weights_bytes=0,
            sha256="",
            tokenizer=None,
            context_tokens=1,
            random_weights=False,
        )

    return make


@pytest.mark.usefixtures("quantizers")
def test_a_calibrated_recipe_tells_its_settings(
    micro: ModelSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("def main(): return 0\n" * 200)
    monkeypatch.setenv(VARIABLE, f"group_size=64 rows=3 tokens=16 seed=7 text={text}")
    found = provenance.in_short(store.artefact(micro, recipe_named("gptq")))
    assert found is not None
    calibration = found.pop("calibration")
    assert found == {
        "source": "recipe",
        "method": "gptq",
        "layout": "gptq",
        "bits": 4,
        "group_size": 64,
        "symmetric": True,
        "desc_act": False,
        "versions": {"stub": "1"},
    }
    assert {name: calibration[name] for name in ("rows", "tokens", "seed")} == {
        "rows": 3,
        "tokens": 16,
        "seed": 7,
    }
    assert calibration["origin"].startswith("text.txt")
    assert len(calibration["text"]) == len(calibration["sha256"]) == 64


@pytest.mark.usefixtures("quantizers")
@pytest.mark.parametrize(
    ("quant", "expected"),
    [
        ("awq", {"method": "awq", "layout": "gemm", "group_size": 128, "symmetric": False}),
        ("int8", {"bits": 8, "activation_bits": 8, "layout": "int-quantized"}),
        ("w4a16", {"bits": 4, "group_size": 128, "layout": "pack-quantized", "symmetric": True}),
    ],
)
def test_the_other_recipes(
    micro: ModelSource, monkeypatch: pytest.MonkeyPatch, quant: str, expected: dict[str, Any]
) -> None:
    monkeypatch.setenv(VARIABLE, "rows=2 tokens=16")
    found = provenance.in_short(store.artefact(micro, recipe_named(quant)))
    assert found is not None
    assert found.items() >= {"source": "recipe", **expected}.items()
    assert ("calibration" in found) == (quant == "awq")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "zero_point": True},
            {"method": "awq", "bits": 4, "group_size": 64, "symmetric": False},
        ),
        (
            {"quant_method": "gptq", "bits": 4, "group_size": -1, "desc_act": True, "sym": True},
            {"method": "gptq", "bits": 4, "group_size": -1, "symmetric": True, "desc_act": True},
        ),
    ],
)
def test_a_ready_made_checkpoint_tells_by_its_config(
    folder: Any, config: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert provenance.in_short(folder(**config)) == {"source": "checkpoint", **expected}


def test_of_ordinary_weights_there_is_nothing_to_tell(folder: Any, tmp_path: Path) -> None:
    assert provenance.in_short(folder()) is None
    (tmp_path / "config.json").write_text("no JSON")
    assert provenance.in_short(folder()) is None


def test_a_gguf_tells_what_its_recipe_noted(folder: Any, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    weights = replace(folder(), path=file, format="gguf")
    assert provenance.in_short(weights) is None
    told = {"method": "llama-quantize", "type": "Q4_K", "bits_per_weight": 4.9, "importance": None}
    (tmp_path / store.PROVENANCE).write_text(json.dumps({**told, "tensors": {"Q4_K": 9}}))
    assert provenance.in_short(weights) == {"source": "recipe", **told}
