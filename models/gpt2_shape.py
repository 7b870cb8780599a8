"""Dimensions of GPT-2: learned positions, weights stored inputs first, the embeddings as head.

Its projections are `Conv1D` in transformers, not `nn.Linear`: their weights lie as (inputs,
outputs), and what quantizes `nn.Linear` alone leaves them as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ARCHITECTURE = "GPT2LMHeadModel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpt2Shape:
    """Dimensions of a GPT-2; what a Llama states apart follows from them."""

    name: str
    after: str
    vocabulary: int
    width: int
    layers: int
    heads: int
    context_tokens: int

    @property
    def head_size(self) -> int:
        return self.width // self.heads

    @property
    def kv_heads(self) -> int:
        """Every head has keys and values of its own."""
        return self.heads

    @property
    def parameters(self) -> int:
        return sum(math.prod(dimensions) for _, dimensions in self.tensors())

    @property
    def head(self) -> str:
        """The tensor that logits are made with: the embeddings, a second time."""
        return "transformer.wte.weight"

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Every tensor as `GPT2LMHeadModel` stores it: name and dimensions."""
        yield self.head, (self.vocabulary, self.width)
        yield "transformer.wpe.weight", (self.context_tokens, self.width)
        for layer in range(self.layers):
            yield from self._layer(f"transformer.h.{layer}")
        yield from self._norm("transformer.ln_f")

    def _layer(self, at: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        width = self.width
        yield from self._norm(f"{at}.ln_1")
        yield from _conv1d(f"{at}.attn.c_attn", width, 3 * width)
        yield from _conv1d(f"{at}.attn.c_proj", width, width)
        yield from self._norm(f"{at}.ln_2")
        yield from _conv1d(f"{at}.mlp.c_fc", width, 4 * width)
        yield from _conv1d(f"{at}.mlp.c_proj", 4 * width, width)

    def _norm(self, at: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{at}.weight", (self.width,)
        yield f"{at}.bias", (self.width,)

    def config(self, bos: int, eos: list[int]) -> dict[str, Any]:
        """`config.json` as transformers' GPT2LMHeadModel reads it."""
        return {
            "architectures": [ARCHITECTURE],
            "model_type": "gpt2",
            "vocab_size": self.vocabulary,
            "n_positions": self.context_tokens,
            "n_embd": self.width,
            "n_layer": self.layers,
            "n_head": self.heads,
            "n_inner": None,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
            "scale_attn_weights": True,
            "tie_word_embeddings": True,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "torch_dtype": "bfloat16",
        }


def _conv1d(at: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{at}.weight", (inputs, outputs)
    yield f"{at}.bias", (outputs,)


GPT2 = Gpt2Shape(
    name="gpt2",
    after="GPT-2 of 124 M, its own architecture",
    vocabulary=50_257,
    width=768,
    layers=12,
    heads=12,
    context_tokens=1024,
)
