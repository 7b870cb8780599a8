"""vLLM's key-value cache: its type, how much room it gets, and what the log says of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from quantswarm.engines import options, vllm_isa
from quantswarm.engines.base import ServeSpec
from quantswarm.models.errors import NoSpace, NotAvailable, UserMistake

GIB = 1024**3
OPTION = "kv_cache_dtype"
WRITER = "QUANTSWARM_VLLM_FP8_KV"
"""Read by our plugin in vLLM (engines/vllm_cpu/settings.py): rounded or upstream."""

_WRITERS = {"fp8": "rounded", "fp8-upstream": "upstream"}
_WHY = {
    "rounded": "rounded to the nearest e4m3 value by our plugin, on any x86 CPU",
    "upstream": "written by vLLM's own code, which needs AVX-512 or AMX and truncates",
}


def flags(
    given: Mapping[str, str], spec: ServeSpec, reasons: dict[str, str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Arguments and variables for the cache's type; none where vLLM decides.

    Raises `NotAvailable` for upstream's FP8 on a processor where upstream refuses it.
    """
    asked = given.get(OPTION, "auto")
    if asked == "auto":
        return (), {}
    if asked not in _WRITERS:
        raise UserMistake(
            f"option {OPTION}={asked}",
            f"must be auto, {' or '.join(_WRITERS)}",
            next_step=f"--option {OPTION}=fp8",
        )
    chosen = ("--kv-cache-dtype", "fp8")
    if spec.device != "cpu":
        reasons[OPTION] = "fp8: vLLM's own, on a GPU"
        return chosen, {}
    writer = _WRITERS[asked]
    if writer == "upstream":
        _refuse_without_avx512(given)
    reasons[OPTION] = f"fp8: {_WHY[writer]}"
    return chosen, {WRITER: writer}


def _refuse_without_avx512(given: Mapping[str, str]) -> None:
    isa = given.get("cpu_isa")
    forced = given.get(vllm_isa.OPTION) == "avx2"
    if isa is None or ({"avx512f", "amx_tile"} & set(isa.split(",")) and not forced):
        return
    raise NotAvailable(
        "an FP8 key-value cache as vLLM itself writes it",
        "option isa=avx2 takes AVX-512 away" if forced else "this CPU has neither AVX-512 nor AMX",
        evidence="vLLM: FP8 KV cache on CPU requires x86 with AVX-512 or AMX.",
        next_step=f"--quant fp8-kv, or --option {OPTION}=fp8: served by our kernels on any x86 CPU",
    )


def room_gib(
    spec: ServeSpec, model_flags: tuple[str, ...], given: Mapping[str, str], reasons: dict[str, str]
) -> int:
    """Whole GiB: the user's own, or what holds every slot's full context.

    Raises `UserMistake` where that cannot hold one request, and `NoSpace` where the machine has not
    that much memory: vLLM would find out after half a minute.
    """
    token = _bytes_per_token(model_flags, given)
    wanted = _asked_gib(given)
    if wanted is not None:
        _refuse_too_small(wanted, spec, token)
    elif token is None:
        wanted = 1
        reasons["kv_cache_gib"] = "1 GiB: the model's shape is not known yet"
    else:
        need = token * spec.slots * spec.context_tokens
        wanted = max(1, math.ceil(need / GIB))
        reasons["kv_cache_gib"] = (
            f"{spec.slots} slots of {spec.context_tokens} tokens need {need / GIB:.2f} GiB"
        )
    _refuse_too_large(wanted, given)
    return wanted


def _bytes_per_token(model_flags: tuple[str, ...], given: Mapping[str, str]) -> int | None:
    elements = given.get("kv_elements_per_token")
    if elements is None:
        return None
    wide = 4 if "float32" in model_flags or "float" in model_flags else 2
    return int(elements) * (wide if given.get(OPTION, "auto") == "auto" else 1)


def _asked_gib(given: Mapping[str, str]) -> int | None:
    wanted = options.number(given, "kv_cache_gib")
    if wanted is None:
        return None
    if wanted != int(wanted) or wanted < 1:
        raise UserMistake(
            f"option kv_cache_gib={given['kv_cache_gib']}",
            "vLLM takes whole GiB, 1 or more",
            next_step="--option kv_cache_gib=1",
        )
    return int(wanted)


def _refuse_too_small(gib: int, spec: ServeSpec, token: int | None) -> None:
    need = (token or 0) * spec.context_tokens
    if need > gib * GIB:
        raise UserMistake(
            f"option kv_cache_gib={gib}",
            f"one request of {spec.context_tokens} tokens needs {need / GIB:.1f} GiB",
            next_step=f"--option kv_cache_gib={math.ceil(need / GIB)}, or a smaller --context",
        )


def _refuse_too_large(gib: int, given: Mapping[str, str]) -> None:
    memory = given.get("memory_bytes")
    if memory is not None and gib * GIB > int(memory):
        raise NoSpace(
            f"{gib} GiB for the key-value cache",
            f"this machine has {int(memory) / GIB:.1f} GiB of memory",
            next_step="fewer users, a smaller --context, or --quant fp8-kv: half of bfloat16's",
        )


def facts(log: str) -> dict[str, Any]:
    """The cache's type and its room in tokens, as vLLM's log tells; None for what it does not."""
    dtype = re.search(r"kv_cache_dtype=([\w.]+)", log)
    model = re.search(r"\bdtype=torch\.(\w+)", log)
    found = dtype.group(1) if dtype else None
    if found == "auto":
        found = model.group(1) if model else None
    tokens = re.search(r"KV cache size: ([\d,]+) tokens", log)
    return {
        "kv_cache_dtype": "fp8_e4m3" if found == "fp8" else found,
        "kv_cache_tokens": int(tokens.group(1).replace(",", "")) if tokens else None,
    }
