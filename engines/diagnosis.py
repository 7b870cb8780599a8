"""Why a server died or would not start, read from its log: pattern → cause → what to do."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from quantswarm.models.errors import BadFile, NoSpace, QuantswarmError, ServerDied


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One known way to die."""

    pattern: str
    name: str
    advice: str
    error: type[QuantswarmError] = ServerDied


CAUSES = (
    Cause(
        pattern=r"No space left on device|ENOSPC",
        name="no space left on the disk",
        advice="free disk space (quantswarm doctor shows how much there is), then try again",
        error=NoSpace,
    ),
    Cause(
        pattern=r"CUDA out of memory|cudaMalloc failed|CUDA error: out of memory"
        r"|less than desired GPU memory utilization",
        name="out of GPU memory",
        advice="fewer layers on the GPU, a smaller quantization, or a smaller --context",
        error=NoSpace,
    ),
    Cause(
        pattern=r"std::bad_alloc|Cannot allocate memory|MemoryError|DefaultCPUAllocator: can't"
        r"|failed to allocate (?:buffer|.*compute buffers)|unable to allocate",
        name="out of memory",
        advice="a smaller model or quantization, fewer users or a smaller --context",
        error=NoSpace,
    ),
    Cause(
        pattern=r"larger than the available KV cache memory|No available memory for the cache"
        r"|max seq len .* is larger than the maximum number of tokens",
        name="the key-value cache is too small for one request",
        advice="a smaller --context, or more room: --option kv_cache_gib=N",
    ),
    Cause(
        pattern=r"on kv cache\s+allocation is less than requested memory for kv",
        name="the machine has no room for the key-value cache",
        advice="less of it: --option kv_cache_gib=N, fewer users or a smaller --context; "
        "--quant fp8-kv needs half of bfloat16's",
        error=NoSpace,
    ),
    Cause(
        pattern=r"FP8 KV cache on CPU requires x86 with AVX-512 or AMX",
        name="vLLM's own FP8 key-value cache needs AVX-512 or AMX",
        advice="--quant fp8-kv, which our kernels serve on any x86 CPU; if that was asked for, "
        "the plugin was not loaded: run set-up again (make setup)",
    ),
    Cause(
        pattern=r"invalid magic characters|gguf_init_from_(?:file|reader).*(?:failed|invalid)"
        r"|tensor '.*' data is not within the file bounds"
        r"|failed to read (?:magic|key-value|tensor)",
        name="the GGUF file is corrupt or cut short",
        advice="delete that file and let it be built or downloaded again",
        error=BadFile,
    ),
    Cause(
        pattern=r"unknown model architecture|are not supported for now"
        r"|Transformers does not recognize this architecture",
        name="this version of the engine does not know the model's architecture",
        advice="another engine, or a newer version of this one",
    ),
    Cause(
        pattern=r"[Aa]ddress already in use|couldn't bind HTTP server socket",
        name="something else took the port meanwhile",
        advice="choose another --port",
    ),
    Cause(
        pattern=r"error: invalid argument: (\S+)|unrecognized arguments: (.+)",
        name="this version of the engine does not know an argument",
        advice="use the version that set-up installs (quantswarm doctor names what was found)",
    ),
    Cause(
        pattern=r"has no attribute 'cpu_gemm_wna16'",
        name="this CPU has no kernel for 4-bit weights in the engine (it needs AVX-512)",
        advice="choose another quantization: quantswarm engines lists what runs here",
    ),
    Cause(
        pattern=r"ModuleNotFoundError: No module named '([^']+)'",
        name="a Python package of the engine is missing",
        advice="run set-up again (make setup), then quantswarm doctor",
    ),
    Cause(
        pattern=r"no backends are loaded",
        name="llama.cpp found none of its compute libraries",
        advice="run set-up again (make setup), then quantswarm doctor",
    ),
    Cause(
        pattern=r"Illegal instruction",
        name="the program was built for another CPU",
        advice="build it on this machine (make setup)",
    ),
)


def cause_of(log: str, exit_code: int | None = None) -> Cause | None:
    """The first known cause that the log (or the exit code) shows; None when it is a new one."""
    for cause in CAUSES:
        if re.search(cause.pattern, log):
            return cause
    if exit_code == -signal.SIGKILL:
        return Cause(
            pattern="",
            name="it was killed from outside, by the kernel's out-of-memory killer most likely",
            advice="a smaller model, fewer users or a smaller --context",
        )
    if exit_code == -signal.SIGILL:
        return CAUSES[-1]
    return None


def death(what: str, log: str, tail: str, exit_code: int | None) -> QuantswarmError:
    """The error for a server that ended by itself; `log` is searched, `tail` is shown."""
    cause = cause_of(log, exit_code)
    ended = "it ended" if exit_code is None else f"it ended with {_exit_words(exit_code)}"
    found = f"{ended}: {cause.name}" if cause else ended
    return (cause.error if cause else ServerDied)(
        what,
        found,
        evidence=f"Last lines of its log:\n{tail}" if tail else "Its log is empty.",
        next_step=cause.advice if cause else "read the log; quantswarm doctor checks this machine",
    )


def _exit_words(code: int) -> str:
    if code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"
