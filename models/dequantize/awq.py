"""AWQ in the "gemm" layout of AutoAWQ: numbers packed along the outputs, in an order of their own.

`qweight[in, out/8]`, `qzeros[groups, out/8]`, `scales[groups, out]`.
"""

from __future__ import annotations

import numpy as np

from quantswarm.models.dequantize import Floats, Stored
from quantswarm.models.dequantize.packed_words import AWQ_ORDER, unpack


def weight(qweight: Stored, qzeros: Stored, scales: Floats) -> Floats:
    """The weight as float32 [outputs, inputs]."""
    numbers = unpack(qweight, bits=4, axis=1, places=AWQ_ORDER)
    zeros = unpack(qzeros, bits=4, axis=1, places=AWQ_ORDER)
    group = np.arange(numbers.shape[0]) // (numbers.shape[0] // scales.shape[0])
    result = (numbers - zeros[group]).astype(np.float32) * scales[group]
    return np.ascontiguousarray(result.T)
