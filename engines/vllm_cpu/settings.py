"""What the plugin is told by its environment, and what that means on this machine.

| variable | values | default |
|---|---|---|
| `QUANTSWARM_VLLM_4BIT` | `auto` `w4a16` `w4a8` `torch` `upstream` | `auto` |
| `QUANTSWARM_VLLM_INT8` | `auto` `exact` `upstream` | `auto` |
| `QUANTSWARM_VLLM_FP8_KV` | `auto` `rounded` `upstream` | `auto` |
| `QUANTSWARM_VLLM_OUTPUT` | `auto` `w16` `upstream` | `auto` |
| `QUANTSWARM_CPU_ISA` | `avx2` `avx512` `amx`: no more than | what there is |

`auto` for 4 bits is `w4a16`, or PyTorch's operator (`torch`) where no library was compiled; for
INT8 it is upstream's kernel where the processor has VNNI, and ours (`exact`) where it has none; an
FP8 key-value cache is rounded; the output layer of a quantized model that computes in float32 is
kept in 16 bits (`w16`) where that is exact and a library was compiled.
"""

from __future__ import annotations

import os
from pathlib import Path

from quantswarm.engines.vllm_cpu import build, kernels
from quantswarm.models.errors import NotAvailable, UnknownName
from quantswarm.models.store import home

FOUR_BIT = "QUANTSWARM_VLLM_4BIT"
INT8 = "QUANTSWARM_VLLM_INT8"
FOUR_BIT_CHOICES = ("auto", "w4a16", "w4a8", "torch", "upstream")
FP8_KV = "QUANTSWARM_VLLM_FP8_KV"
INT8_CHOICES = ("auto", "exact", "upstream")
FP8_KV_CHOICES = ("auto", "rounded", "upstream")
OUTPUT = "QUANTSWARM_VLLM_OUTPUT"
OUTPUT_CHOICES = ("auto", "w16", "upstream")


def four_bit() -> str:
    """What serves 4-bit weights: w4a16, w4a8, torch or upstream."""
    asked = named(FOUR_BIT, FOUR_BIT_CHOICES)
    if asked != "auto":
        return asked
    return "torch" if build.find(home()) is None else "w4a16"


def int8() -> str:
    """What serves 8-bit weights: exact or upstream."""
    asked = named(INT8, INT8_CHOICES)
    if asked != "auto":
        return asked
    found = build.find(home())
    if found is None:
        return "upstream"
    return "exact" if kernels.choose8(kernels.load(found)) == "int8.avx2" else "upstream"


def fp8_kv() -> str:
    """Who writes an FP8 key-value cache: rounded or upstream."""
    asked = named(FP8_KV, FP8_KV_CHOICES)
    return "rounded" if asked == "auto" else asked


def output_layer() -> str:
    """What serves the output layer beside float32 activations: w16 or upstream."""
    asked = named(OUTPUT, OUTPUT_CHOICES)
    if asked != "auto":
        return asked
    return "upstream" if build.find(home()) is None else "w16"


def library() -> Path:
    """The compiled library. Raises `NotAvailable` where there is none."""
    found = build.find(home())
    if found is None:
        raise NotAvailable(
            "compiled CPU kernels for vLLM",
            f"none that fits under {home() / 'vllm_cpu'}",
            next_step=f"make setup, or {FOUR_BIT}=torch and {INT8}=upstream",
        )
    return found


def named(variable: str, choices: tuple[str, ...]) -> str:
    """What the variable says, `auto` where it says nothing; `UnknownName` for a wrong value."""
    asked = os.environ.get(variable) or "auto"
    if asked not in choices:
        raise UnknownName(variable, asked, choices, next_step=f"set {variable} to one of them")
    return asked
