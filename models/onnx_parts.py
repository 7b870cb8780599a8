"""What an ONNX graph's weights are made of: from its description, not from their data.

Weights that lie in a file beside the graph are not read. Names are those of onnxruntime-genai's
exporter and of ONNX Runtime's quantizers; where a weight's own name tells nothing, as in
`onnx::MatMul_7`, that of the operation that uses it does.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantswarm.models.errors import BadFile
from quantswarm.models.weight_parts import (
    EMBEDDINGS,
    HEAD,
    LAYERS,
    NORMS,
    OTHER,
    Part,
    Weights,
    merged,
)

NOT_A_LLAMA = "what an ONNX graph reads in a step does not follow from its headers"
_BITS: Mapping[str, int] = {
    "FLOAT": 32, "FLOAT16": 16, "BFLOAT16": 16, "DOUBLE": 64, "INT8": 8, "UINT8": 8, "INT16": 16,
    "UINT16": 16, "INT32": 32, "UINT32": 32, "INT64": 64, "UINT64": 64, "BOOL": 8, "INT4": 4,
    "UINT4": 4, "INT2": 2, "UINT2": 2, "FLOAT8E4M3FN": 8, "FLOAT8E5M2": 8, "FLOAT4E2M1": 4,
}  # fmt: skip
_PLAIN = {"FLOAT": "float32", "FLOAT16": "float16", "BFLOAT16": "bfloat16"}
_SCALES = re.compile(r"_scales?$")
_ZEROS = re.compile(r"_(zero_points?|zp)$")
_TABLES = re.compile(r"(cos|sin)_cache$")
_PACKED_BITS = {"MatMulNBits": 1, "GatherBlockQuantized": 0}
"""Operations on blocks of packed weights → place of those among their inputs."""
_PLACES = (
    (HEAD, re.compile(r"lm_head")),
    (OTHER, re.compile(r"wpe|embed_positions|position_embed")),
    (EMBEDDINGS, re.compile(r"embed_tokens|wte|word_embed")),
    (NORMS, re.compile(r"norm|ln_(\d|f)\b")),
    (LAYERS, re.compile(r"(layers|h|blocks?)\.\d+\.")),
)


def of_graph(path: Path, asked: str) -> Weights:
    """Of a folder's only graph, or of a file; raises `BadFile` where it is none that we can read.

    `unknown` is always set: a ceiling needs to know what a step reads.
    """
    graph = _read(_file(path, asked), asked)
    used = _uses(graph)
    every = [(tensor, _place(tensor, used)) for tensor in graph.initializer]
    tied = all(place != HEAD for _, place in every)
    return Weights(
        parts=merged(_part(tensor, place, used, tied=tied) for tensor, place in every),
        kv_elements=None,
        attention_width=None,
        stored_as=None,
        unknown=NOT_A_LLAMA,
    )


def _file(path: Path, asked: str) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*.onnx"))
    if len(found) == 1:
        return found[0]
    raise BadFile(
        asked,
        f"{len(found)} .onnx files in {path}",
        evidence=f"It holds: {', '.join(file.name for file in found[:4]) or 'none'}.",
        next_step="give a folder with one graph",
    )


def _read(path: Path, asked: str) -> Any:
    try:
        import onnx

        cut_off = importlib.import_module("google.protobuf.message").DecodeError
    except ImportError as error:
        raise BadFile(asked, f"{error}", next_step="make setup") from error
    try:
        return onnx.load(str(path), load_external_data=False).graph
    except (cut_off, ValueError, OSError) as error:
        raise BadFile(
            asked,
            f"{path.name} is no ONNX graph, or is cut off ({error})",
            next_step="export it again",
        ) from error


def _uses(graph: Any) -> dict[str, Any]:
    """Name of a weight → the first operation that uses it."""
    found: dict[str, Any] = {}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, node)
    return found


def _place(tensor: Any, used: Mapping[str, Any]) -> str:
    """By its own name, else by that of the operation on it, whose parts are split by slashes."""
    if _TABLES.search(tensor.name):
        return OTHER
    node = used.get(tensor.name)
    for name in (tensor.name, node.name.replace("/", ".").lstrip(".") if node else ""):
        for component, pattern in _PLACES:
            if pattern.search(name) and (component != NORMS or len(tensor.dims) == 1):
                return component
    return OTHER


def _part(tensor: Any, place: str, used: Mapping[str, Any], *, tied: bool) -> Part:
    import onnx

    stored = onnx.TensorProto.DataType.Name(tensor.data_type)
    elements = math.prod(tensor.dims)
    size = math.ceil(elements * _BITS.get(stored, 8) / 8)
    kind, weights = _kind(tensor, stored, elements, used)
    return Part(
        component=place,
        kind=kind,
        stored_bytes=size,
        elements=elements,
        parameters=weights if len(tensor.dims) > 1 else 0,
        plain=kind in _PLAIN.values(),
        read=place in (LAYERS, HEAD, NORMS) or (place == EMBEDDINGS and tied),
    )


def _kind(tensor: Any, stored: str, elements: int, used: Mapping[str, Any]) -> tuple[str, int]:
    """The type by name, and how many weights of the model the tensor stands for."""
    name = tensor.name
    if _SCALES.search(name):
        return "scales", 0
    if _ZEROS.search(name):
        return "zeros", 0
    if _TABLES.search(name) or stored in ("INT64", "INT32", "BOOL"):
        return "table", 0
    bits = _packed_bits(used.get(name), name)
    if bits is not None:
        return f"int{bits}", elements * 8 // bits
    return _PLAIN.get(stored, stored.lower()), elements


def _packed_bits(node: Any, name: str) -> int | None:
    """Bits of a weight where bytes hold several; None for a tensor that is not packed."""
    place = _PACKED_BITS.get(node.op_type) if node is not None else None
    if place is None or list(node.input).index(name) != place:
        return None
    told = [attribute.i for attribute in node.attribute if attribute.name == "bits"]
    return int(told[0]) if told else 4
