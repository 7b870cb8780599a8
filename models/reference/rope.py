"""Rotary positions: each pair of a head's values is turned by an angle that grows with position."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from quantswarm.models.dequantize import Floats, Stored
from quantswarm.models.reference.shape import Llama3Rope, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Cosine and sine [tokens, head size / 2]; `pairs`: neighbours are turned, not halves."""

    cosine: Floats
    sine: Floats
    pairs: bool


def turns(shape: Shape, positions: Stored) -> Turns:
    """For tokens at these positions, computed in float64."""
    steps = np.arange(0, shape.head_size, 2, dtype=np.float64) / shape.head_size
    frequencies = shape.rope_theta**-steps
    if shape.llama3 is not None:
        frequencies = np.array([_stretched(one, shape.llama3) for one in frequencies])
    if shape.rope_divisors is not None:
        frequencies /= np.array(shape.rope_divisors)
    angles = np.outer(positions, frequencies)
    return Turns(
        cosine=np.cos(angles).astype(np.float32),
        sine=np.sin(angles).astype(np.float32),
        pairs=shape.turns_pairs,
    )


def turned(values: Floats, by: Turns) -> Floats:
    """Turn [heads, tokens, head size]."""
    half = values.shape[2] // 2
    if by.pairs:
        first, second = values[..., 0::2], values[..., 1::2]
    else:
        first, second = values[..., :half], values[..., half:]
    parts = first * by.cosine - second * by.sine, second * by.cosine + first * by.sine
    if by.pairs:
        return np.stack(parts, axis=-1).reshape(values.shape)
    return np.concatenate(parts, axis=-1)


def _stretched(frequency: float, rope: Llama3Rope) -> float:
    """Slow frequencies are divided by the factor, fast ones kept, those between mixed."""
    turns_in_training = rope.original_positions * frequency / (2 * math.pi)
    if turns_in_training < rope.low_freq_factor:
        return frequency / rope.factor
    if turns_in_training > rope.high_freq_factor:
        return frequency
    share = (turns_in_training - rope.low_freq_factor) / (
        rope.high_freq_factor - rope.low_freq_factor
    )
    return (1 - share) * frequency / rope.factor + share * frequency
