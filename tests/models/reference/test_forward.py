"""The forward pass against transformers in float32, which shares no line with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from quantswarm.models import source
from quantswarm.models.errors import UnsupportedPair
from quantswarm.models.gguf_convert import convert
from quantswarm.models.reference.checkpoint import Checkpoint
from quantswarm.models.reference.forward import Numerics, log_probabilities
from quantswarm.models.reference.gguf_weights import GgufWeights
from quantswarm.models.reference.rounding import bfloat16, e4m3
from quantswarm.models.reference.shape import from_config

IDS = [[5, 9, 200, 31, 31, 7, 64, 1000, 1, 2, 3], [77, 1500]]
LLAMA = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 2048, "rms_norm_eps": 1e-5, "initializer_range": 0.2,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip


def largest_difference(first, second):
    return max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))


def by_transformers(folder: Path):
    torch = pytest.importorskip("torch", reason="missing: torch")
    transformers = pytest.importorskip("transformers", reason="missing: transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        made = [model(torch.tensor([ids])).logits[0].double() for ids in IDS]
    return [torch.log_softmax(logits, -1).numpy() for logits in made]


def saved(kind: str, folder: Path, **more) -> Path:
    torch = pytest.importorskip("torch", reason="missing: torch")
    transformers = pytest.importorskip("transformers", reason="missing: transformers")
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**LLAMA, **more})
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    for name, values in model.named_parameters():
        if name.endswith("bias"):
            values.data.normal_()
    model.save_pretrained(folder)
    return folder


@pytest.mark.engines
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("Llama", {}),
        ("Llama", {"tie_word_embeddings": True, "num_key_value_heads": 4}),
        ("Llama", {"rope_parameters": LLAMA3, "head_dim": 32}),
        ("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
        ("Qwen2", {}),
        ("Mistral", {"sliding_window": None}),
    ],
)
def test_random_models_agree_with_transformers(kind, more, tmp_path):
    folder = saved(kind, tmp_path, **more)
    ours = log_probabilities(Checkpoint(folder, "test"), IDS)
    assert largest_difference(ours, by_transformers(folder)) < 1e-4


@pytest.mark.engines
def test_the_embedded_model_agrees_with_transformers():
    folder = source.tiny_folder()
    ours = log_probabilities(Checkpoint(folder, "test"), IDS)
    assert largest_difference(ours, by_transformers(folder)) < 1e-4


@pytest.fixture(scope="module")
def tiny():
    return Checkpoint(source.tiny_folder(), "test")


@pytest.fixture(scope="module")
def plain(tiny):
    return log_probabilities(tiny, IDS)


def test_rows_are_distributions_and_look_back_only(tiny, plain):
    for rows in plain:
        np.testing.assert_allclose(np.exp(rows).sum(axis=-1), 1, atol=1e-4)
    (shorter,) = log_probabilities(tiny, [IDS[0][:4]])
    np.testing.assert_allclose(shorter, plain[0][:4], atol=1e-4)


def test_the_same_model_as_gguf_gives_the_same(tiny, plain, tmp_path):
    """Another order of rows, rope by neighbours, other names: bfloat16 weights fit float16."""
    made = tmp_path / "model.gguf"
    convert(source.tiny_folder(), made, "tiny")
    found = log_probabilities(GgufWeights(made, "test"), IDS, Numerics())
    assert largest_difference(found, plain) < 3e-2  # float16 inputs


@pytest.mark.parametrize(
    "numerics", [Numerics(keep=bfloat16), Numerics(keys=e4m3), Numerics(values=e4m3)]
)
def test_each_rounding_is_felt(tiny, plain, numerics):
    found = log_probabilities(tiny, IDS, numerics)
    assert 1e-3 < largest_difference(found, plain) < 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
        ({"sliding_window": 4096}, "window"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "yarn"),
        ({"hidden_act": "gelu"}, "gelu"),
    ],
)
def test_what_is_not_computed_is_refused(change, reason):
    config = json.loads((source.tiny_folder() / "config.json").read_text(encoding="utf-8"))
    with pytest.raises(UnsupportedPair, match=reason):
        from_config({**config, **change}, "test")
