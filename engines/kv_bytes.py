"""Bytes of one number in a key-value cache, by the type that an engine says it has."""

from __future__ import annotations

from collections.abc import Mapping

from quantswarm.engines.base import Precision

BYTES: Mapping[str, float] = {
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "e4m3": 1,
    "q8_0": 34 / 32,
    "q4_0": 18 / 32,
}
"""ggml's blocks hold 32 numbers and a scale of 16 bits."""


def bytes_per_token(elements: int, told: Precision, dtype: str | None) -> float | None:
    """Of all layers: half of the `elements` are keys, half values. `dtype` is what the cache
    follows where `told` names no type. None for a type that is not known."""
    sizes = [BYTES.get(_plain(kind or dtype)) for kind in (told.keys, told.values)]
    if sizes[0] is None or sizes[1] is None:
        return None
    return elements / 2 * (sizes[0] + sizes[1])


def _plain(kind: str | None) -> str:
    """The type alone: an engine may add how it turns the numbers before it stores them."""
    return (kind or "").rpartition(" ")[2]
