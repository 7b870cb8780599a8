"""The forward pass: token ids to the logarithm of each next token's probability.

Layers are the outer loop: each is dequantized once, used for all sequences, and let go, so that the
largest thing in memory is one layer (or the head), however large the model is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from quantswarm.models.dequantize import Floats
from quantswarm.models.reference.rope import Turns, turned, turns
from quantswarm.models.reference.rounding import Rounding, as_is
from quantswarm.models.reference.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A linear layer: `values` is [outputs, inputs]; `inputs` rounds what it is multiplied with."""

    values: Floats
    bias: Floats | None = None
    inputs: Rounding = as_is


class Weights(Protocol):
    """Where weights come from. Names are Hugging Face's, within a layer without its prefix."""

    @property
    def shape(self) -> Shape:
        """Sizes, and how positions are turned in."""

    @property
    def quantized(self) -> bool:
        """Whether any matrix is stored in less than 16 bits."""

    def embedding(self, ids: Sequence[int]) -> Floats:
        """Rows of the embedding."""

    def vector(self, name: str) -> Floats:
        """A norm's weights."""

    def matrix(self, name: str) -> Matrix:
        """A linear layer, dequantized."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerics:
    """Where and how to round. All left alone is float32 throughout.

    `keep` rounds weights and whatever passes from operator to operator, `keys` and `values` what
    the cache holds. `inputs` replaces the rounding that quantized matrices declare for theirs.
    """

    keep: Rounding = as_is
    keys: Rounding = as_is
    values: Rounding = as_is
    inputs: Rounding | None = None


def log_probabilities(
    weights: Weights, sequences: Sequence[Sequence[int]], numerics: Numerics | None = None
) -> list[Floats]:
    """For each sequence [tokens, vocabulary]: row i is about the token that follows token i."""
    how = numerics or Numerics()
    shape = weights.shape
    angles = turns(shape, max(map(len, sequences)))
    states = [how.keep(weights.embedding(ids)) for ids in sequences]
    for number in range(shape.layers):
        layer = _layer(weights, f"model.layers.{number}.", how)
        states = [layer.passed(state, angles) for state in states]
    norm = how.keep(weights.vector("model.norm.weight"))
    head = _matrix(weights, "lm_head", how)
    found = []
    for state in states:
        last = _normed(state, norm, shape.norm_epsilon, how)
        found.append(_log_softmax(_product(last, head, how)))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    shape: Shape
    how: Numerics
    norms: tuple[Floats, Floats]
    matrices: Mapping[str, Matrix]

    def passed(self, state: Floats, angles: Turns) -> Floats:
        """The layer's output for one sequence [tokens, width]."""
        keep, epsilon = self.how.keep, self.shape.norm_epsilon
        inside = self._attention(_normed(state, self.norms[0], epsilon, self.how), angles)
        state = keep(state + inside)
        return keep(state + self._mlp(_normed(state, self.norms[1], epsilon, self.how)))

    def _attention(self, inside: Floats, angles: Turns) -> Floats:
        how, shape = self.how, self.shape
        query = how.keep(turned(self._heads("q_proj", inside, shape.heads), angles))
        key = how.keys(how.keep(turned(self._heads("k_proj", inside, shape.kv_heads), angles)))
        value = how.values(self._heads("v_proj", inside, shape.kv_heads))
        mixed = how.keep(_attended(query, key, value))
        flat = mixed.swapaxes(0, 1).reshape(len(inside), -1)
        return _product(flat, self.matrices["self_attn.o_proj"], how)

    def _heads(self, name: str, inside: Floats, heads: int) -> Floats:
        """[heads, tokens, head size]."""
        made = _product(inside, self.matrices[f"self_attn.{name}"], self.how)
        return made.reshape(len(inside), heads, self.shape.head_size).swapaxes(0, 1)

    def _mlp(self, inside: Floats) -> Floats:
        gate = _product(inside, self.matrices["mlp.gate_proj"], self.how)
        up = _product(inside, self.matrices["mlp.up_proj"], self.how)
        mixed = self.how.keep(gate / (1 + np.exp(-gate)) * up)
        return _product(mixed, self.matrices["mlp.down_proj"], self.how)


_MATRICES = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)
_NORMS = ("input_layernorm.weight", "post_attention_layernorm.weight")


def _layer(weights: Weights, prefix: str, how: Numerics) -> _Layer:
    first, second = (how.keep(weights.vector(f"{prefix}{name}")) for name in _NORMS)
    matrices = {name: _matrix(weights, f"{prefix}{name}", how) for name in _MATRICES}
    return _Layer(shape=weights.shape, how=how, norms=(first, second), matrices=matrices)


def _matrix(weights: Weights, name: str, how: Numerics) -> Matrix:
    found = weights.matrix(name)
    inputs = found.inputs
    if how.inputs is not None and inputs is not as_is:
        inputs = how.inputs
    bias = None if found.bias is None else how.keep(found.bias)
    return Matrix(values=how.keep(found.values), bias=bias, inputs=inputs)


def _product(inside: Floats, matrix: Matrix, how: Numerics) -> Floats:
    made = matrix.inputs(inside) @ matrix.values.T
    return how.keep(made if matrix.bias is None else made + matrix.bias)


def _normed(state: Floats, weight: Floats, epsilon: float, how: Numerics) -> Floats:
    """Root-mean-square norm; the mean is summed in float64, which costs little here."""
    mean = np.square(state, dtype=np.float64).mean(axis=-1, keepdims=True)
    scaled = state / np.sqrt(mean + epsilon)
    return how.keep((scaled * weight).astype(np.float32))


def _attended(query: Floats, key: Floats, value: Floats) -> Floats:
    """Causal attention of [heads, tokens, size]; each key head serves several query heads."""
    shared = len(query) // len(key)
    key, value = np.repeat(key, shared, axis=0), np.repeat(value, shared, axis=0)
    tokens = query.shape[1]
    scores = query @ key.swapaxes(1, 2) / np.float32(np.sqrt(query.shape[-1]))
    scores += np.triu(np.full((tokens, tokens), -np.inf, np.float32), 1)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return np.asarray(shares @ value, np.float32)


def _log_softmax(logits: Floats) -> Floats:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide.astype(np.float32)
