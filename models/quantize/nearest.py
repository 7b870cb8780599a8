"""Rounding to nearest: what any calibrated method has to beat, and the yardstick of its error."""

from __future__ import annotations

from typing import Any

from quantswarm.models.quantize.grouped import Grouped, group_of


def four_bit(weight: Any, group_size: int, *, symmetric: bool) -> Grouped:
    """A float32 weight [outputs, inputs] in 4 bits; the range of each group as it is found."""
    import numpy as np

    outputs, inputs = weight.shape
    groups = inputs // group_size
    parts = weight.T.reshape(groups, group_size, outputs)
    low = np.minimum(parts.min(axis=1), 0)
    high = np.maximum(parts.max(axis=1), 0)
    if symmetric:
        high = np.maximum(high, -low)
        low = -high
    scales = np.maximum((high - low) / 15, 1e-8).astype(np.float16).astype(np.float32)
    scales = np.where(scales == 0, np.float32(2**-24), scales)
    zeros = np.full(scales.shape, 8.0) if symmetric else np.clip(np.rint(-low / scales), 0, 15)
    codes = np.clip(np.rint(parts / scales[:, None]) + zeros[:, None], 0, 15)
    return Grouped(
        codes=codes.astype(np.uint8).reshape(inputs, outputs),
        zeros=zeros.astype(np.uint8),
        scales=scales,
        group_of=group_of(inputs, groups),
    )


def int8(weight: Any) -> Any:
    """The weight after rounding to signed bytes, one scale an output."""
    import numpy as np

    scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-12) / np.float32(127.5)
    return np.clip(np.rint(weight / scale), -128, 127) * scale


def fp8(weight: Any) -> Any:
    """The weight after rounding to e4m3, one scale an output."""
    import numpy as np

    scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-12) / np.float32(448)
    positive = e4m3()[:127]  # 0 to 448 in order of their codes; 127 is not a number
    between = (positive[1:] + positive[:-1]) / 2
    scaled = weight / scale
    return np.sign(scaled) * positive[np.searchsorted(between, np.abs(scaled))] * scale


def fp8_codes(weight: Any) -> tuple[Any, Any]:
    """A float32 weight [outputs, inputs] as bytes of e4m3, and its scale, float32 [outputs, 1]."""
    import numpy as np

    largest = np.abs(weight).max(axis=1, keepdims=True)
    scale = np.maximum(largest, np.float32(1e-12)) / np.float32(448)
    return e4m3_codes(weight / scale), scale


def e4m3_codes(values: Any) -> Any:
    """The byte of the nearest e4m3 value of each float32 from -448 to 448, ties to even.

    From 2**-6 on it has three bits of fraction, so that the lower 20 of float32's 23 are rounded
    off and the exponent counts from 7 instead of 127; under that, multiples of 2**-9.
    """
    import numpy as np

    bits = values.astype(np.float32, copy=False).view(np.uint32)
    sign = (bits >> np.uint32(24)).astype(np.uint8) & np.uint8(0x80)
    size = bits & np.uint32(0x7FFFFFFF)
    normal = size + np.uint32(0x7FFFF) + ((size >> np.uint32(20)) & np.uint32(1))
    normal = (normal >> np.uint32(20)) - np.uint32((127 - 7) << 3)
    small = np.rint(size.view(np.float32) * np.float32(512))
    code = np.where(size < np.uint32((127 - 6) << 23), small.astype(np.uint32), normal)
    return code.astype(np.uint8) | sign


def e4m3() -> Any:
    """The float32 value of each byte of the type e4m3 (finite, no infinities)."""
    import numpy as np

    code = np.arange(256)
    sign = np.where(code & 0x80, -1.0, 1.0)
    exponent, fraction = (code >> 3) & 15, code & 7
    normal = np.ldexp(1 + fraction / 8, exponent - 7)
    value = sign * np.where(exponent == 0, np.ldexp(fraction / 8, -6), normal)
    value[(code & 0x7F) == 0x7F] = np.nan
    return value.astype(np.float32)
