"""What an ONNX graph is made of: products with weights, the cache's type, stored tensors.

Only `model.onnx` is read; the weights lie beside it in `model.onnx.data`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quantswarm.models.errors import BadFile
from quantswarm.models.weight_parts import HEAD, LAYERS, NORMS, Part, component_of

GRAPH = "model.onnx"
_BITS = {"weight_Q4": 4, "weight_Q8": 8, "weight_quantized": 8}
"""End of a quantized tensor's name → bits of a weight."""
_BESIDE = {
    "weight_scales": "scales",
    "weight_scale": "scales",
    "weight_zero_points": "zeros",
    "weight_zero_point": "zeros",
    "weight_zp": "zeros",
    "cos_cache": "table",
    "sin_cache": "table",
}
_SHOWN = ("bits", "block_size", "accuracy_level")


def graph(folder: Path) -> Any:
    """The graph; `BadFile` where there is none that can be read."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(str(folder / GRAPH), load_external_data=False).graph
    except (OSError, DecodeError) as error:
        raise BadFile(
            f"ONNX graph {folder / GRAPH}",
            str(error) or "cannot be read",
            next_step="build it again",
        ) from None


def products(found: Any) -> dict[str, int]:
    """How often a graph multiplies with weights, by operator and its settings, as it is stored:
    onnxruntime joins some with what follows them when it loads the graph."""
    stored = {one.name for one in found.initializer}
    counts: dict[str, int] = {}
    for node in found.node:
        if node.op_type.startswith("MatMul") and stored & {*node.input}:
            name = _spoken(node.op_type, {one.name: one.i for one in node.attribute})
            counts[name] = counts.get(name, 0) + 1
    return counts


def _spoken(kind: str, told: Mapping[str, int]) -> str:
    return ",".join([kind, *(f"{name}={told[name]}" for name in _SHOWN if name in told)])


def cache_dtype(found: Any) -> str | None:
    """Type of the keys and values that a graph takes; None where it takes none."""
    for one in found.input:
        if one.name.startswith("past_key_values."):
            return _dtype(one.type.tensor_type.elem_type)
    return None


def parts(found: Any) -> Iterator[Part]:
    """Every stored tensor, as `weight_parts` counts them."""
    for one in found.initializer:
        elements = math.prod(one.dims)
        kind, weights, size = _kind(one.name, _dtype(one.data_type), elements)
        component = component_of(one.name, len(one.dims))
        yield Part(
            component=component,
            kind=kind,
            stored_bytes=size,
            elements=elements,
            parameters=weights if len(one.dims) > 1 else 0,
            plain=kind.startswith(("float", "bfloat")),
            read=component in (LAYERS, HEAD, NORMS),
        )


def _kind(name: str, dtype: str, elements: int) -> tuple[str, int, int]:
    """(kind, weights that it stands for, bytes)."""
    import numpy as np

    size = elements * (2 if dtype == "bfloat16" else np.dtype(dtype).itemsize)
    ending = name.rpartition(".")[2]
    if ending in _BITS:
        bits = _BITS[ending]
        return f"int{bits}", size * 8 // bits, size
    if ending in _BESIDE:
        return _BESIDE[ending], 0, size
    return dtype, elements, size


def _dtype(number: int) -> str:
    """ONNX's number of a type, by numpy's name."""
    import onnx

    name = str(onnx.TensorProto.DataType.Name(number)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)
