"""How a model's rotary positions are stretched, as GGUF says it.

Llama 3 slows down the low frequencies by a factor each; llama.cpp reads the factors from a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

TENSOR = "rope_freqs.weight"
KINDS = ("default", "llama3")


def settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rope's part of config.json, under its older and newer name."""
    return {**(config.get("rope_parameters") or {}), **(config.get("rope_scaling") or {})}


def kind(config: Mapping[str, Any]) -> str:
    """`default` where nothing is scaled."""
    found = settings(config)
    return str(found.get("rope_type") or found.get("type") or "default")


def base(config: Mapping[str, Any]) -> float:
    """The longest wave's base, theta."""
    return float(config.get("rope_theta") or settings(config).get("rope_theta", 10_000.0))


def head_size(config: Mapping[str, Any]) -> int:
    """Values of one attention head."""
    heads = int(config["num_attention_heads"])
    return int(config.get("head_dim") or config["hidden_size"] // heads)


def factors(config: Mapping[str, Any]) -> Any:
    """By what each frequency is divided, float32; None where none is."""
    if kind(config) != "llama3":
        return None
    rope = settings(config)
    factor = float(rope["factor"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    trained = float(rope["original_max_position_embeddings"])
    size = head_size(config)
    waves = 2 * math.pi * base(config) ** (np.arange(0, size, 2) / size)
    smooth = np.clip((trained / waves - low) / (high - low), 0.0, 1.0)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
