"""Roundings of float32 values to what a smaller type could hold, each array to array.

They make a reference of what an engine declares (a cache in e4m3, activations in 8 bits), and an
estimate of a compute type's noise. Blocks lie along the last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from quantswarm.models.dequantize import Floats

Rounding: TypeAlias = Callable[[Floats], Floats]

_E4M3_LARGEST = 448.0
_TINY = np.float32(1e-30)


def as_is(values: Floats) -> Floats:
    """No rounding."""
    return values


def bfloat16(values: Floats) -> Floats:
    """The upper 16 bits, to nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    upper = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    return upper.view(np.float32)


def float16(values: Floats) -> Floats:
    """IEEE half precision; what is too large becomes its largest value."""
    return np.clip(values, -65504, 65504).astype(np.float16).astype(np.float32)


def float32_sums(values: Floats) -> Floats:
    """20 bits of 24: what a float32 sum of some hundred terms in another order leaves."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(8)) & np.uint32(0xFFFFFFF0)).view(np.float32)


def e4m3(values: Floats) -> Floats:
    """To nearest, ties to even; clamped to ±448, as the type has no infinity."""
    _, exponent = np.frexp(values)
    quantum = np.ldexp(np.float32(1), np.maximum(exponent - 1, -6) - 3)
    nearest = np.rint(values / quantum) * quantum
    return np.asarray(np.clip(nearest, -_E4M3_LARGEST, _E4M3_LARGEST), np.float32)


def e4m3_toward_zero(values: Floats) -> Floats:
    """As `e4m3` with the lower bits cut off: a writer that truncates."""
    _, exponent = np.frexp(values)
    quantum = np.ldexp(np.float32(1), np.maximum(exponent - 1, -6) - 3)
    cut = np.trunc(values / quantum) * quantum
    return np.asarray(np.clip(cut, -_E4M3_LARGEST, _E4M3_LARGEST), np.float32)


def int8_rows(values: Floats) -> Floats:
    """Signed bytes with one scale for each row (each token): symmetric dynamic quantization."""
    scale = np.maximum(np.abs(values).max(axis=-1, keepdims=True), _TINY) / np.float32(127)
    return np.asarray(np.clip(np.rint(values / scale), -128, 127) * scale, np.float32)


def e4m3_rows(values: Floats) -> Floats:
    """e4m3 with one scale for each row (each token)."""
    largest = np.maximum(np.abs(values).max(axis=-1, keepdims=True), _TINY)
    scale = largest / np.float32(_E4M3_LARGEST)
    return np.asarray(e4m3(values / scale) * scale, np.float32)


def int8_blocks(values: Floats, *, block: int = 32) -> Floats:
    """Signed bytes with one scale for each block of a row, as llama.cpp rounds activations."""
    if values.shape[-1] % block:
        return int8_rows(values)
    parts = values.reshape(*values.shape[:-1], -1, block)
    return int8_rows(parts).reshape(values.shape)


def int8_long_blocks(values: Floats) -> Floats:
    """As `int8_blocks`, 256 values each: what llama.cpp's K-quants are multiplied with."""
    return int8_blocks(values, block=256)


def ggml(kind: str) -> Rounding:
    """To a GGML type and back ("q8_0", "q4_0", "f16" …), by the `gguf` package."""
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    number = GGMLQuantizationType[kind.upper()]

    def rounded(values: Floats) -> Floats:
        flat = np.ascontiguousarray(values, np.float32)
        return np.asarray(dequantize(quantize(flat, number), number), np.float32)

    return rounded


def rotated(rounding: Rounding, *, block: int | None = None) -> Rounding:
    """Values are mixed by a Walsh-Hadamard matrix before they are rounded, and back after it.

    So llama.cpp treats quantized caches: outliers are spread, and a scale wastes less. `block` is
    the matrix's size, None the largest power of two that divides the head. Heads that are no
    multiple of 64 are rounded as they are.
    """

    def done(values: Floats) -> Floats:
        size = values.shape[-1]
        if size % 64:
            return rounding(values)
        matrix = hadamard(block or size & -size)
        parts = values.reshape(*values.shape[:-1], -1, len(matrix))
        mixed = rounding(np.asarray(parts @ matrix, np.float32).reshape(values.shape))
        return np.asarray((mixed.reshape(parts.shape) @ matrix).reshape(values.shape), np.float32)

    return done


def hadamard(size: int) -> Floats:
    """The orthonormal matrix, its own inverse; `size` is a power of two."""
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.asarray(matrix / np.sqrt(size), np.float32)


NAMED: Mapping[str, Rounding] = {
    "float32": as_is,
    "bfloat16": bfloat16,
    "float16": float16,
    "e4m3": e4m3,
    "e4m3-toward-zero": e4m3_toward_zero,
    "int8 a token": int8_rows,
    "int8 a block of 32": int8_blocks,
    "int8 a block of 256": int8_long_blocks,
    "e4m3 a token": e4m3_rows,
}


def named(kind: str) -> Rounding:
    """One of `NAMED`, a GGML type, or one of either after "rotated" ("rotated-64": in blocks)."""
    how, _, inner = kind.partition(" ")
    if how.startswith("rotated"):
        block = how.partition("-")[2]
        return rotated(named(inner), block=int(block) if block else None)
    return NAMED[kind] if kind in NAMED else ggml(kind)
