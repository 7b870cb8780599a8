"""Small unsigned numbers packed into 32-bit words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quantswarm.models.dequantize import Stored

AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""Place, within a word, of each of eight numbers: the nibbles hold numbers 0,2,4,6,1,3,5,7."""


def unpack(
    words: Stored, *, bits: int, axis: int, places: tuple[int, ...] | None = None
) -> NDArray[np.int32]:
    """Every word becomes 32 / bits numbers along `axis`, the lowest bits first.

    `places[i]` says in which place of its word number i lies; None: in order.
    """
    count = 32 // bits
    order = places or tuple(range(count))
    shifts = np.array([bits * place for place in order], dtype=np.uint32)
    last = np.moveaxis(words, axis, -1)
    whole = np.ascontiguousarray(last).view(np.uint32)
    mask = np.uint32(2**bits - 1)
    numbers = ((whole[..., None] >> shifts) & mask).astype(np.int32)
    return np.moveaxis(numbers.reshape(*last.shape[:-1], last.shape[-1] * count), -1, axis)
