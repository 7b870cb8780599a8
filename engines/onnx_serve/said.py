"""What the server prints as it starts, and how the engine reads it in the log."""

from __future__ import annotations

import re
import sys
from pathlib import Path

KEY_VARIABLE = "QUANTSWARM_ONNX_API_KEY"
"""The environment variable with the key that clients must give."""
MOST_TOGETHER = 4
"""Requests in a static batch of onnxruntime-genai 0.18 (`static_batch_size` in its scheduler)."""


def tell(folder: Path, rows: int, context_tokens: int) -> None:
    """The graph's products and the cache of a full batch, on stderr."""
    from quantswarm.models import onnx_graph

    graph = onnx_graph.graph(folder)
    for product, count in onnx_graph.products(graph).items():
        print(f"onnxruntime product: {product} x{count}", file=sys.stderr)
    cache = onnx_graph.cache_dtype(graph)
    print(f"key-value cache: {cache}, {rows} x {context_tokens} tokens at most", file=sys.stderr)
    sys.stderr.flush()


def products_in(log: str) -> tuple[str, ...]:
    """The operators that multiply with weights."""
    return tuple(re.findall(r"^onnxruntime product: (\S+) x\d+$", log, re.MULTILINE))


def cache_in(log: str) -> tuple[str | None, int | None]:
    """(type, tokens of a full batch) of the key-value cache; None for what the log does not say."""
    found = re.search(r"^key-value cache: (\w+), (\d+) x (\d+) tokens", log, re.MULTILINE)
    return (found[1], int(found[2]) * int(found[3])) if found else (None, None)
