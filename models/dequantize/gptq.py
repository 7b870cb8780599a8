"""GPTQ, as AutoGPTQ and GPTQModel write it: numbers packed along the inputs.

`qweight[in/8, out]`, `qzeros[groups, out/8]`, `scales[groups, out]`, `g_idx[in]` (the group of each
input). The first version of the format stores each zero point less one, the second as it is.
"""

from __future__ import annotations

import numpy as np

from quantswarm.models.dequantize import Floats, Stored
from quantswarm.models.dequantize.packed_words import unpack


def weight(
    qweight: Stored,
    qzeros: Stored,
    scales: Floats,
    g_idx: Stored | None,
    *,
    bits: int = 4,
    stored_less_one: bool = True,
) -> Floats:
    """The weight as float32 [outputs, inputs]."""
    numbers = unpack(qweight, bits=bits, axis=0)
    zeros = unpack(qzeros, bits=bits, axis=1)[:, : scales.shape[1]]
    if stored_less_one:
        zeros = (zeros + 1) & (2**bits - 1)
    inputs, groups = numbers.shape[0], scales.shape[0]
    if g_idx is None:
        g_idx = np.arange(inputs) // (inputs // groups)
    result = (numbers - zeros[g_idx]).astype(np.float32) * scales[g_idx]
    return np.ascontiguousarray(result.T)
