"""What the forward pass must know of a model besides its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantswarm.models.errors import UnsupportedPair

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama3Rope:
    """Llama 3.1's stretching of the slow frequencies."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_positions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """`turns_pairs`: rope turns neighbouring values of a head (GGUF of a Llama), not its halves.

    `rope_divisors` are a GGUF's own factors for the frequencies, in place of `llama3`.
    """

    layers: int
    heads: int
    kv_heads: int
    head_size: int
    norm_epsilon: float
    rope_theta: float
    vocabulary: int
    llama3: Llama3Rope | None = None
    rope_divisors: tuple[float, ...] | None = None
    turns_pairs: bool = False


def from_config(config: Mapping[str, Any], asked: str) -> Shape:
    """From a config.json; `UnsupportedPair` for what the forward pass does not compute."""
    architecture = (config.get("architectures") or ["none"])[0]
    _require(
        {
            f"its architecture is {architecture}": architecture not in ARCHITECTURES,
            "its attention slides over a window": bool(config.get("sliding_window"))
            and config.get("use_sliding_window", True),
            f"its activation is {config.get('hidden_act')}": config.get("hidden_act") != "silu",
        },
        asked,
    )
    heads = int(config["num_attention_heads"])
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    return Shape(
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_size=int(config.get("head_dim") or config["hidden_size"] // heads),
        norm_epsilon=float(config["rms_norm_eps"]),
        rope_theta=float(config.get("rope_theta") or rope.get("rope_theta") or 10_000.0),
        vocabulary=int(config["vocab_size"]),
        llama3=_llama3(rope, asked),
    )


def from_gguf(values: Mapping[str, Any], vocabulary: int, asked: str) -> Shape:
    """From a GGUF file's own values; `vocabulary` is the number of rows of its embedding."""
    kind = str(values.get("general.architecture"))
    scaling = values.get(f"{kind}.rope.scaling.type", "none")
    _require(
        {
            f"its architecture is {kind}": kind not in ("llama", "qwen2"),
            f"its rope is scaled ({scaling})": scaling != "none",
            "its attention slides over a window": bool(
                values.get(f"{kind}.attention.sliding_window")
            ),
        },
        asked,
    )
    heads = int(values[f"{kind}.attention.head_count"])
    width = int(values[f"{kind}.embedding_length"])
    return Shape(
        layers=int(values[f"{kind}.block_count"]),
        heads=heads,
        kv_heads=int(values.get(f"{kind}.attention.head_count_kv", heads)),
        head_size=int(values.get(f"{kind}.attention.key_length", width // heads)),
        norm_epsilon=float(values[f"{kind}.attention.layer_norm_rms_epsilon"]),
        rope_theta=float(values.get(f"{kind}.rope.freq_base", 10_000.0)),
        vocabulary=vocabulary,
        turns_pairs=kind == "llama",
    )


def _llama3(rope: Mapping[str, Any], asked: str) -> Llama3Rope | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    _require({f"its rope is scaled ({kind})": kind not in ("default", "llama3")}, asked)
    if kind == "default":
        return None
    return Llama3Rope(
        factor=float(rope["factor"]),
        low_freq_factor=float(rope["low_freq_factor"]),
        high_freq_factor=float(rope["high_freq_factor"]),
        original_positions=int(rope["original_max_position_embeddings"]),
    )


def _require(refusals: Mapping[str, bool], asked: str) -> None:
    for reason, applies in refusals.items():
        if applies:
            raise UnsupportedPair(
                asked,
                f"{reason}, which the reference does not compute",
                evidence=f"It computes {', '.join(ARCHITECTURES)}, plain or Llama 3 rope.",
                next_step="verify another model, or compare two engines on this one",
            )
