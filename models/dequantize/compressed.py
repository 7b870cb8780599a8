"""compressed-tensors: packed integers of 4 or 8 bits, plain 8-bit integers, 8-bit floats.

Scales have one row an output: `weight_scale[out, groups]`. Packed numbers lie along the inputs and
are signed, stored with 2^(bits - 1) added; so are zero points, which are packed along the outputs.
"""

from __future__ import annotations

import numpy as np

from quantswarm.models.dequantize import Floats, Stored
from quantswarm.models.dequantize.packed_words import unpack


def packed(
    weight_packed: Stored,
    weight_scale: Floats,
    weight_zero_point: Stored | None,
    g_idx: Stored | None,
    *,
    bits: int,
    inputs: int,
) -> Floats:
    """`pack-quantized` as float32 [outputs, inputs]; `inputs` is from `weight_shape`."""
    numbers = unpack(weight_packed, bits=bits, axis=1)[:, :inputs]
    outputs, groups = weight_scale.shape
    if weight_zero_point is None:
        zeros = np.full((outputs, groups), 2 ** (bits - 1), np.int32)
    else:
        zeros = unpack(weight_zero_point, bits=bits, axis=0)[:outputs]
    if g_idx is None or (g_idx < 0).any():
        g_idx = np.arange(inputs) // -(-inputs // groups)
    return (numbers - zeros[:, g_idx]).astype(np.float32) * weight_scale[:, g_idx]


def int8(weight: Stored, weight_scale: Floats) -> Floats:
    """`int-quantized`: signed bytes, one scale for each output, or one for all."""
    return weight.astype(np.float32) * weight_scale.reshape(-1, 1)


def e4m3(weight: Stored, weight_scale: Floats) -> Floats:
    """`float-quantized`: bytes of the type e4m3, one scale for each output, or one for all."""
    return E4M3[weight] * weight_scale.reshape(-1, 1)


def _e4m3_values() -> Floats:
    """The value of each byte: sign, 4 bits of exponent, 3 of fraction; all ones is no number."""
    byte = np.arange(256)
    exponent, fraction = (byte >> 3) & 15, byte & 7
    size = np.where(
        exponent == 0, np.ldexp(fraction / 8, -6), np.ldexp(1 + fraction / 8, exponent - 7)
    )
    size[(byte & 127) == 127] = np.nan
    return np.where(byte & 128, -size, size).astype(np.float32)


E4M3 = _e4m3_values()
"""float32 of every byte."""
