"""Weights that do not exist yet: what a quantization would make of a synthetic shape.

Layouts are those that the recipes write; how llama.cpp mixes types in a K-quant follows
`llama_tensor_get_type` of its source (src/llama-quant.cpp). What is not listed is not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from quantswarm.models.at_load import QUANTS
from quantswarm.models.gpt2_shape import Gpt2Shape
from quantswarm.models.shapes import AnyShape, Shape
from quantswarm.models.weight_parts import (
    EMBEDDINGS,
    HEAD,
    LAYERS,
    NORMS,
    OTHER,
    Part,
    Weights,
    component_of,
    dimensions_of,
    merged,
)

GROUP = 128
"""Of the recipes with groups, unless their settings say otherwise."""
_PLAIN = ("bf16", "fp16", "fp32", "fp8-kv", "fp8-kv-upstream", *QUANTS)
_FOUR = ("gptq", "awq", "w4a16")
_EIGHT = {"int8": "int8", "fp8": "float8"}
_QUANTIZED = (*_FOUR, *_EIGHT)
"""Recipes of whose weights only the layers' are quantized."""
_GGML = {
    "f16": "f16", "bf16-gguf": "bf16", "q4_0": "q4_0", "q4_1": "q4_1", "q5_0": "q5_0",
    "q5_1": "q5_1", "q8_0": "q8_0", "q6_k": "q6_k", "q4_k_s": "q4_k", "q4_k_m": "q4_k",
    "q5_k_s": "q5_k", "q5_k_m": "q5_k",
}  # fmt: skip
"""Recipe → the type of most of its tensors."""
_AS_IT_IS = ("f16", "bf16", "q8_0")
"""Types that llama.cpp gives the head too; a head of fewer bits becomes q6_k."""
_BLOCKS: Mapping[str, tuple[int, int]] = {
    "f32": (1, 4), "f16": (1, 2), "bf16": (1, 2), "q4_0": (32, 18), "q4_1": (32, 20),
    "q5_0": (32, 22), "q5_1": (32, 24), "q8_0": (32, 34), "q4_k": (256, 144), "q5_k": (256, 176),
    "q6_k": (256, 210),
}  # fmt: skip
"""ggml's type → numbers in a block, and its bytes."""

Made = tuple[str, int, int, int, bool]
"""A tensor as stored: type, bytes, elements, weights of the model, whether it is plain."""


def of_shape(shape: AnyShape, quant: str, *, group: int = GROUP) -> Weights | None:
    """None for a quantization whose layout is known only once it is made."""
    quant = quant.removesuffix("-nearest")  # other roundings, the same layouts
    if isinstance(shape, Gpt2Shape):
        parts = tuple(_gpt2_parts(shape, quant))
    else:
        parts = tuple(_parts(shape, quant, group))
    if not parts:
        return None
    kv, width = dimensions_of(shape)
    return Weights(
        parts=merged(parts),
        kv_elements=kv,
        attention_width=width,
        stored_as=None if quant in _GGML or quant.endswith("_0-kv") else "bfloat16",
    )


def _gpt2_parts(shape: Gpt2Shape, quant: str) -> Iterator[Part]:
    """As it is stored: no recipe makes other weights of it."""
    for name, dimensions in shape.tensors() if quant in _PLAIN else ():
        component, elements = component_of(name, len(dimensions)), math.prod(dimensions)
        yield Part(
            component=component,
            kind="bfloat16",
            stored_bytes=2 * elements,
            elements=elements,
            parameters=elements if len(dimensions) > 1 else 0,
            plain=True,
            read=component != OTHER,
        )


def _parts(shape: Shape, quant: str, group: int) -> Iterator[Part]:
    weights = "f16" if quant in ("q8_0-kv", "q4_0-kv") else quant
    for name, (outputs, inputs) in shape.matrices():
        component = component_of(name, 2)
        for kind, size, elements, stands_for, plain in _matrix(
            shape, weights, name, outputs, inputs, group
        ):
            yield Part(
                component=component,
                kind=kind,
                stored_bytes=size,
                elements=elements,
                parameters=stands_for,
                plain=plain,
                read=component != EMBEDDINGS and kind != "order",
            )
    if weights in _GGML or weights in (*_PLAIN, *_QUANTIZED):
        yield _norms(shape, gguf=weights in _GGML)


def _norms(shape: Shape, *, gguf: bool) -> Part:
    count = shape.width * (2 * shape.layers + 1)
    return Part(
        component=NORMS,
        kind="f32" if gguf else "bfloat16",
        stored_bytes=count * (4 if gguf else 2),
        elements=count,
        parameters=0,
        plain=True,
        read=True,
    )


def _matrix(
    shape: Shape, quant: str, name: str, outputs: int, inputs: int, group: int
) -> Iterator[Made]:
    count = outputs * inputs
    in_layer = component_of(name, 2) == LAYERS
    if quant in _GGML:
        kind = _ggml_type(shape, quant, name)
        block, block_bytes = _BLOCKS[kind]
        yield kind, count // block * block_bytes, count, count, kind in ("f16", "bf16", "f32")
    elif quant in _PLAIN or (quant in _QUANTIZED and not in_layer):
        yield "bfloat16", 2 * count, count, count, True
    elif quant in _EIGHT:
        yield _EIGHT[quant], count, count, count, False
        yield "scales", 4 * outputs, outputs, 0, False
    elif quant in _FOUR:
        yield from _grouped(quant, outputs, inputs, group)


def _grouped(quant: str, outputs: int, inputs: int, group: int) -> Iterator[Made]:
    """Words of eight weights; scales of 16 bits (32 in w4a16); zeros in words, where there are."""
    count, scales = outputs * inputs, outputs * (inputs // group)
    yield "int4", count // 2, count // 8, count, False
    yield "scales", (4 if quant == "w4a16" else 2) * scales, scales, 0, False
    if quant != "w4a16":
        yield "zeros", scales // 2, scales // 8, 0, False
    if quant == "gptq":
        yield "order", 4 * inputs, inputs, 0, False
    elif quant == "w4a16":
        yield "order", 16, 2, 0, False


def _ggml_type(shape: Shape, quant: str, name: str) -> str:
    usual = _GGML[quant]
    if component_of(name, 2) == HEAD:
        return usual if usual in _AS_IT_IS else "q6_k"
    if quant not in ("q4_k_m", "q5_k_m", "q4_k_s") or not ("v_proj" in name or "down" in name):
        return usual
    layer = int(name.split(".")[2])
    if quant == "q4_k_s":
        early = layer < (4 if "v_proj" in name else shape.layers // 8)
        return "q5_k" if early else usual
    return "q6_k" if _more_bits(layer, shape.layers) else usual


def _more_bits(layer: int, layers: int) -> bool:
    """llama.cpp's `use_more_bits`: the first and last eighth, and every third between them."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
