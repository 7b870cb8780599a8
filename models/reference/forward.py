"""The forward pass: token ids to the logarithm of each next token's probability.

Layers are the outer loop: each is dequantized once, used for all sequences, and let go, so that the
largest thing in memory is one layer (or the head), however large the model is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

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
    quantized: bool = False


class Weights(Protocol):
    """Where weights come from. Names are Hugging Face's, within a layer without its prefix."""

    @property
    def shape(self) -> Shape:
        """Sizes, and how positions are turned in."""

    @property
    def quantized(self) -> bool:
        """Whether any matrix is stored in less than 16 bits."""

    @property
    def rounds_inputs(self) -> bool:
        """Whether quantized matrices are meant to be multiplied with rounded inputs."""

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
    the cache holds. `inputs` replaces what matrices declare for their inputs, and holds for all
    quantized ones.
    """

    keep: Rounding = as_is
    keys: Rounding = as_is
    values: Rounding = as_is
    inputs: Rounding | None = None


Pick: TypeAlias = Callable[[int, Floats], Floats]
"""What to keep of a sequence, by its number and its [tokens, vocabulary] log-probabilities."""


def log_probabilities(
    weights: Weights, sequences: Sequence[Sequence[int]], numerics: Numerics | None = None
) -> list[Floats]:
    """For each sequence [tokens, vocabulary]: row i is about the token that follows token i."""
    return picked(weights, sequences, [numerics or Numerics()], lambda _, rows: rows)[0]


def picked(
    weights: Weights, sequences: Sequence[Sequence[int]], ways: Sequence[Numerics], pick: Pick
) -> list[list[Floats]]:
    """In each of several ways, what `pick` keeps of each sequence; weights are read once."""
    lengths = tuple(map(len, sequences))
    whole = [token for ids in sequences for token in ids]
    angles = turns(weights.shape, np.concatenate([np.arange(length) for length in lengths]))
    states = [how.keep(weights.embedding(whole)) for how in ways]
    for number in range(weights.shape.layers):
        parts = _parts(weights, f"model.layers.{number}.")
        for way, how in enumerate(ways):
            layer = _layer(parts, weights.shape, lengths, how)
            states[way] = layer.passed(states[way], angles)
    norm, head = weights.vector("model.norm.weight"), weights.matrix("lm_head")
    epsilon = weights.shape.norm_epsilon
    found: list[list[Floats]] = []
    for how, state in zip(ways, states, strict=True):
        last, matrix = _normed(state, how.keep(norm), epsilon, how), _kept(head, how)
        logits = (_product(one, matrix, how) for one in _apart(last, lengths))
        found.append([pick(at, _log_softmax(rows)) for at, rows in enumerate(logits)])
    return found


def _apart(values: Floats, lengths: Sequence[int], axis: int = 0) -> list[Floats]:
    """What was joined, a sequence at a time."""
    return np.split(values, np.cumsum(lengths)[:-1], axis=axis)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    shape: Shape
    lengths: tuple[int, ...]
    how: Numerics
    norms: tuple[Floats, Floats]
    matrices: Mapping[str, Matrix]

    def passed(self, state: Floats, angles: Turns) -> Floats:
        """The layer's output for all sequences, joined to [tokens, width]."""
        keep, epsilon = self.how.keep, self.shape.norm_epsilon
        inside = self._attention(_normed(state, self.norms[0], epsilon, self.how), angles)
        state = keep(state + inside)
        return keep(state + self._mlp(_normed(state, self.norms[1], epsilon, self.how)))

    def _attention(self, inside: Floats, angles: Turns) -> Floats:
        how, shape = self.how, self.shape
        query = how.keep(turned(self._heads("q_proj", inside, shape.heads), angles))
        key = how.keys(how.keep(turned(self._heads("k_proj", inside, shape.kv_heads), angles)))
        value = how.values(self._heads("v_proj", inside, shape.kv_heads))
        split = (_apart(one, self.lengths, axis=1) for one in (query, key, value))
        mixed = np.concatenate([_attended(*one) for one in zip(*split, strict=True)], axis=1)
        flat = how.keep(mixed).swapaxes(0, 1).reshape(len(inside), -1)
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


_Parts: TypeAlias = tuple[tuple[Floats, Floats], Mapping[str, Matrix]]


def _parts(weights: Weights, prefix: str) -> _Parts:
    first, second = (weights.vector(f"{prefix}{name}") for name in _NORMS)
    return (first, second), {name: weights.matrix(f"{prefix}{name}") for name in _MATRICES}


def _layer(parts: _Parts, shape: Shape, lengths: tuple[int, ...], how: Numerics) -> _Layer:
    (first, second), matrices = parts
    return _Layer(
        shape=shape,
        lengths=lengths,
        how=how,
        norms=(how.keep(first), how.keep(second)),
        matrices={name: _kept(matrix, how) for name, matrix in matrices.items()},
    )


def _kept(matrix: Matrix, how: Numerics) -> Matrix:
    """The matrix as one way of computing has it."""
    inputs = matrix.inputs
    if how.inputs is not None and (matrix.quantized or inputs is not as_is):
        inputs = how.inputs
    bias = None if matrix.bias is None else how.keep(matrix.bias)
    return replace(matrix, values=how.keep(matrix.values), bias=bias, inputs=inputs)


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
