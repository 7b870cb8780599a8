"""Dimensions of the synthetic models: Llama shapes after well-known models, and GPT-2's own.

Widths are multiples of 256 (K-quants), so groups of 128 divide them too; head sizes are 64 or 128.
Where the original's width is none (Qwen2.5-0.5B has 896), the nearest shape of its size is taken.
All are for speed only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantswarm.models.errors import UnknownName
from quantswarm.models.gpt2_shape import GPT2, Gpt2Shape

PREFIX = "synthetic/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Dimensions of a Llama with separate input and output embeddings."""

    name: str
    after: str
    vocabulary: int
    width: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    context_tokens: int
    rope_theta: float = 10_000.0

    @property
    def parameters(self) -> int:
        return sum(rows * columns for _, (rows, columns) in self.matrices()) + self.width * (
            2 * self.layers + 1
        )

    @property
    def head(self) -> str:
        """The tensor that logits are made with."""
        return "lm_head.weight"

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Every tensor as it is stored: name and dimensions."""
        yield from self.matrices()
        for layer in range(self.layers):
            yield f"model.layers.{layer}.input_layernorm.weight", (self.width,)
            yield f"model.layers.{layer}.post_attention_layernorm.weight", (self.width,)
        yield "model.norm.weight", (self.width,)

    def matrices(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Every two-dimensional weight: name and (outputs, inputs)."""
        yield "model.embed_tokens.weight", (self.vocabulary, self.width)
        for layer in range(self.layers):
            for part, shape in self.layer_matrices():
                yield f"model.layers.{layer}.{part}.weight", shape
        yield "lm_head.weight", (self.vocabulary, self.width)

    def layer_matrices(self) -> Iterator[tuple[str, tuple[int, int]]]:
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        yield "self_attn.q_proj", (queries, self.width)
        yield "self_attn.k_proj", (keys, self.width)
        yield "self_attn.v_proj", (keys, self.width)
        yield "self_attn.o_proj", (self.width, queries)
        yield "mlp.gate_proj", (self.feed_forward, self.width)
        yield "mlp.up_proj", (self.feed_forward, self.width)
        yield "mlp.down_proj", (self.width, self.feed_forward)

    def config(self, bos: int, eos: list[int]) -> dict[str, Any]:
        """`config.json` as transformers' LlamaForCausalLM reads it."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": self.feed_forward,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_size,
            "hidden_act": "silu",
            "max_position_embeddings": self.context_tokens,
            "rope_theta": self.rope_theta,
            "rms_norm_eps": 1e-5,
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": False,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "torch_dtype": "bfloat16",
        }


AnyShape = Shape | Gpt2Shape

_ALL: tuple[AnyShape, ...] = (
    GPT2,
    Shape(
        name="0.1b",
        after="GPT-2 small",
        vocabulary=16_384,
        width=768,
        feed_forward=2048,
        layers=12,
        heads=12,
        kv_heads=12,
        head_size=64,
        context_tokens=2048,
    ),
    Shape(
        name="0.25b",
        after="a Llama of 16 layers of width 1024",
        vocabulary=32_000,
        width=1024,
        feed_forward=2816,
        layers=16,
        heads=16,
        kv_heads=8,
        head_size=64,
        context_tokens=4096,
    ),
    Shape(
        name="0.5b",
        after="Qwen2.5 0.5B",
        vocabulary=151_936,
        width=768,
        feed_forward=4864,
        layers=24,
        heads=12,
        kv_heads=2,
        head_size=64,
        context_tokens=8192,
        rope_theta=1_000_000.0,
    ),
    Shape(
        name="1b",
        after="Llama 3.2 1B",
        vocabulary=128_256,
        width=2048,
        feed_forward=8192,
        layers=16,
        heads=32,
        kv_heads=8,
        head_size=64,
        context_tokens=8192,
        rope_theta=500_000.0,
    ),
    Shape(
        name="7b",
        after="Mistral 7B",
        vocabulary=32_000,
        width=4096,
        feed_forward=14_336,
        layers=32,
        heads=32,
        kv_heads=8,
        head_size=128,
        context_tokens=8192,
        rope_theta=1_000_000.0,
    ),
)

SHAPES: Mapping[str, AnyShape] = {shape.name: shape for shape in _ALL}


def names() -> tuple[str, ...]:
    """Names as a user gives them, `synthetic/0.5b`."""
    return tuple(PREFIX + name for name in SHAPES)


def named(name: str) -> AnyShape:
    """The shape of `synthetic/<shape>`; `UnknownName` with near misses otherwise."""
    found = SHAPES.get(name.removeprefix(PREFIX))
    if found is None:
        raise UnknownName("model", name, names(), next_step="quantswarm models lists them all")
    return found
