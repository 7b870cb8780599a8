"""4-bit weights in groups, and the three ways checkpoints lay them out. numpy only.

GPTQ and compressed-tensors put value 0 into the lowest bits of a 32-bit word; AutoAWQ's words hold
the values 0 2 4 6 1 3 5 7. GPTQ packs along the inputs, AutoAWQ along the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

IN_ORDER = (0, 1, 2, 3, 4, 5, 6, 7)
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Position n of a word (from the lowest bits) holds the value of this place among its eight."""

Tensors = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """One layer: weight[i, o] = (codes[i, o] - zeros[g, o]) * scales[g, o], g = group_of[i].

    `codes` and `zeros` are bytes from 0 to 15, `scales` floats; i counts inputs, o outputs.
    """

    codes: Any
    zeros: Any
    scales: Any
    group_of: Any

    def dequantized(self) -> Any:
        """float32 [outputs, inputs], as a linear layer holds its weight."""
        import numpy as np

        zeros = self.zeros.astype(np.float32)[self.group_of]
        scales = self.scales.astype(np.float32)[self.group_of]
        wide = (self.codes.astype(np.float32) - zeros) * scales
        return np.ascontiguousarray(wide.T)


def pack(values: Any, order: Sequence[int] = IN_ORDER) -> Any:
    """Bytes from 0 to 15 along the last axis, eight to an int32."""
    import numpy as np

    eights = values.reshape(*values.shape[:-1], -1, 8).astype(np.uint32)
    words = np.zeros(eights.shape[:-1], np.uint32)
    for position, place in enumerate(order):
        words |= eights[..., place] << np.uint32(4 * position)
    return words.view(np.int32)


def unpack(words: Any, order: Sequence[int] = IN_ORDER) -> Any:
    """The inverse of `pack`."""
    import numpy as np

    wide = np.ascontiguousarray(words).view(np.uint32)
    eights = np.empty((*wide.shape, 8), np.uint8)
    for position, place in enumerate(order):
        eights[..., place] = (wide >> np.uint32(4 * position)) & np.uint32(15)
    return eights.reshape(*wide.shape[:-1], -1)


def group_of(inputs: int, groups: int) -> Any:
    """Group of each input where groups are runs of equal length."""
    import numpy as np

    return np.arange(inputs) // (inputs // groups)


def to_gptq(layer: Grouped) -> dict[str, Any]:
    """GPTQ's first format, whose zero points are stored less one."""
    import numpy as np

    return {
        "qweight": np.ascontiguousarray(pack(np.ascontiguousarray(layer.codes.T)).T),
        "qzeros": pack((layer.zeros - np.uint8(1)) & np.uint8(15)),
        "scales": layer.scales.astype(np.float16),
        "g_idx": layer.group_of.astype(np.int32),
    }


def from_gptq(tensors: Tensors, *, stored_less_one: bool = True) -> Grouped:
    """GPTQ's first format, or with `stored_less_one` False its second."""
    import numpy as np

    codes = np.ascontiguousarray(unpack(tensors["qweight"].T).T)
    zeros = unpack(tensors["qzeros"])
    if stored_less_one:
        zeros = (zeros + np.uint8(1)) & np.uint8(15)
    groups = tensors["scales"].shape[0]
    order = tensors.get("g_idx")
    return Grouped(
        codes=codes,
        zeros=zeros,
        scales=tensors["scales"],
        group_of=group_of(codes.shape[0], groups) if order is None else np.asarray(order),
    )


def to_awq(layer: Grouped) -> dict[str, Any]:
    """AutoAWQ's `gemm` format."""
    import numpy as np

    return {
        "qweight": pack(layer.codes, AWQ_ORDER),
        "qzeros": pack(layer.zeros, AWQ_ORDER),
        "scales": layer.scales.astype(np.float16),
    }


def from_awq(tensors: Tensors) -> Grouped:
    """AutoAWQ's `gemm` format."""
    codes = unpack(tensors["qweight"], AWQ_ORDER)
    scales = tensors["scales"]
    return Grouped(
        codes=codes,
        zeros=unpack(tensors["qzeros"], AWQ_ORDER),
        scales=scales,
        group_of=group_of(codes.shape[0], scales.shape[0]),
    )


def from_packed(tensors: Tensors) -> Grouped:
    """compressed-tensors' `pack-quantized`: signed values stored plus eight, outputs first."""
    import numpy as np

    outputs, inputs = (int(length) for length in tensors["weight_shape"])
    codes = np.ascontiguousarray(unpack(tensors["weight_packed"])[:outputs, :inputs].T)
    scales = np.ascontiguousarray(tensors["weight_scale"].T)
    stored = tensors.get("weight_zero_point")
    if stored is None:
        zeros = np.full(scales.shape, 8, np.uint8)
    else:
        zeros = unpack(np.ascontiguousarray(stored.T))[:, :outputs]
    return Grouped(
        codes=codes, zeros=zeros, scales=scales, group_of=group_of(inputs, scales.shape[0])
    )
