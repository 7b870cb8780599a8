"""llama.cpp's key-value cache in fewer bits: which types, how they are asked for and proved.

Keys and values get the same type: a CUDA build compiles its quantized kernels for few pairs of
types. A quantized cache of values needs flash attention everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.models.errors import UnknownName, UserMistake

OPTION = "kv"
TYPES = {"f16": 1, "bf16": 30, "q8_0": 8, "q4_0": 2}
"""Name of each type offered → ggml's number for it."""

PLAIN = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
"""Types that are no quantization, by ggml's name, as `Precision` calls them."""

MEANING = f"{'|'.join(TYPES)}: type of the key-value cache, for any weights (f16)"


def flags(
    given: Mapping[str, str], recipe_flags: Sequence[str], reasons: dict[str, str]
) -> tuple[str, ...]:
    """llama-server's arguments for the cache type of `--option kv=…`; empty without one.

    `UserMistake` where the quantization is itself about the cache.
    """
    kind = given.get(OPTION)
    if kind is None:
        return ()
    if kind not in TYPES:
        raise UnknownName("type of key-value cache", kind, TYPES, next_step="--option kv=q8_0")
    if "-ctk" in recipe_flags:
        of_recipe = recipe_flags[list(recipe_flags).index("-ctk") + 1]
        raise UserMistake(
            f"option kv={kind}",
            f"the quantization sets the cache to {of_recipe} already",
            next_step="--quant f16 --option kv=…, or leave the option out",
        )
    reasons[OPTION] = f"keys and values stored as {kind}: asked for"
    attention = ("-fa", "on") if kind.startswith("q") else ()
    return ("-ctk", kind, "-ctv", kind, *attention)


def facts(log: str) -> dict[str, Any]:
    """The cache's type and its room in tokens, as the log tells; None for what it does not."""
    types = re.search(r"llama_kv_cache: size =.*?K \((\w+)\).*?V \((\w+)\)", log)
    slots = re.search(r"n_slots = (\d+), n_ctx_slot = (\d+)", log)
    dtype = None
    if types:
        dtype = types[1] if types[1] == types[2] else f"{types[1]}/{types[2]}"
    return {
        "kv_cache_dtype": dtype,
        "kv_cache_tokens": int(slots[1]) * int(slots[2]) if slots else None,
    }
