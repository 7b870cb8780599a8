"""Named warnings about vLLM's products on CPUs: emulated, inexact, or slower than they could be.

Which product will serve is known before the start, by the quantization, the options and the CPU;
the log of a running server says which one does. The figures quoted are those of docs/kernels.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from quantswarm.engines import vllm_isa, vllm_kv, vllm_products
from quantswarm.engines.base import ServeSpec
from quantswarm.engines.vllm_weights import FOUR_BIT
from quantswarm.models.store import home

if TYPE_CHECKING:
    from quantswarm.engines.hardware import Host

Warned = tuple[str, str, str, str]
_KINDS = {"bf16": "bfloat16", "fp16": "float16"}
_NATIVE = {
    "bfloat16": ("avx512_bf16", "amx_bf16"),
    "float16": ("avx512_fp16", "amx_fp16"),
}
_LINEAR = r"LinearKernel$|^quantswarm:(w4|torch|int8)"
_NAMES = {
    "four_bit=w4a16": r"quantswarm:w4a16|QuantswarmW4A16LinearKernel",
    "four_bit=w4a8": r"quantswarm:w4a8|QuantswarmW4A8LinearKernel",
    "four_bit=torch": r"quantswarm:torch|QuantswarmTorchInt4LinearKernel",
    "four_bit=upstream": r"CPUWNA16LinearKernel",
    "int8=exact": r"quantswarm:int8|QuantswarmInt8LinearKernel",
    "int8=upstream": r"CPUInt8ScaledMMLinearKernel",
}
"""Names of each product in vLLM's log."""

_INEXACT_INT8 = "vLLM's own product adds pairs in 16 bits without VNNI, where sums saturate"
_W4A8 = "VLLM_CPU_INT4_W4A8"
"""vLLM's own variable, on unless it is 0."""

_UPSTREAM_ROUNDS = (
    f"it rounds activations to 8 bits, one scale a token ({_W4A8}): log-probabilities were 0.126"
    " off where w4a16's were 0.033"
)
_UPSTREAM_SLOW = (
    "it was measured, with AMX, at 0.7 to 0.9 times the speed of the bfloat16 product, at any"
    " number of requests"
)
_TORCH_EMULATED = (
    "it computes in bfloat16, which this CPU emulates: it was measured at 0.7 times the speed of"
    " the float32 product with 32 requests at once (3.8 times with one)"
)


def beforehand(host: Host, quant: str | None, spec: ServeSpec) -> tuple[Warned, ...]:
    """(name, seen, cause, advice) of each; none on a GPU."""
    if spec.device != "cpu":
        return ()
    given = {**spec.options, "cpu_isa": ",".join(host.isa)}
    isa = vllm_isa.left(given)
    found = [*_emulated(quant, given, isa)]
    if quant in FOUR_BIT:
        found += _four_bit(given, isa)
    elif quant == "int8":
        found += _int8(given, isa)
    return (*found, *_cache(given, isa))


def afterwards(quant: str | None, spec: ServeSpec, served: str | None) -> tuple[Warned, ...]:
    """Whether what serves is what was to serve; `served` has the kernels that the log names."""
    wanted = _wanted(quant, spec.options) if spec.device == "cpu" else None
    if wanted is None:
        return ()
    linear = [name for name in (served or "").split() if re.search(_LINEAR, name)]
    others = [name for name in linear if not re.match(_NAMES[wanted], name)]
    if not others:
        return ()
    return (
        (
            "other-kernel",
            f"{wanted} was to serve the weights, and the log names {', '.join(others)}",
            "the plugin was not loaded, or its kernel refused a layer and vLLM took the next one",
            "read the server's log for the reason; make setup installs the plugin again",
        ),
    )


def _wanted(quant: str | None, given: Mapping[str, str]) -> str | None:
    if quant in FOUR_BIT:
        return f"four_bit={vllm_products.four_bit(given)}"
    return f"int8={vllm_products.int8(given)}" if quant == "int8" else None


def _emulated(quant: str | None, given: Mapping[str, str], isa: set[str]) -> Iterator[Warned]:
    """A 16-bit type, asked for by name, that this CPU must convert."""
    kind = given.get("dtype") or _KINDS.get(quant or "")
    needs = _NATIVE.get(kind or "")
    if needs is None or isa & set(needs):
        return
    other = "bfloat16" if isa & set(_NATIVE["bfloat16"]) else "float32"
    instead = f"--option dtype={other}"
    if "dtype" not in given:
        instead = "bf16" if other == "bfloat16" else "fp32"
    yield (
        "emulated-kernel",
        f"{kind} on this CPU: it has none of {', '.join(needs)}",
        f"without them {kind} products are converted and computed in another type",
        f"for speed compare with {instead}; the result is still {kind}'s own quality",
    )


def _four_bit(given: Mapping[str, str], isa: set[str]) -> Iterator[Warned]:
    choice = vllm_products.four_bit(given)
    if choice == "torch":
        yield _torch(vllm_products.asked(vllm_products.FOUR_BIT, given) == "torch")
        if not isa & set(_NATIVE["bfloat16"]):
            yield (
                "slower-kernel",
                "PyTorch's 4-bit product beside float32",
                _TORCH_EMULATED,
                "make setup compiles kernels that stay ahead; or compare with fp32",
            )
    if choice == "w4a8":
        yield (
            "rounded-activations",
            "four_bit=w4a8",
            "activations are rounded to 8 bits, 32 of them sharing a scale, as llama.cpp does",
            "four_bit=w4a16 keeps 16 bits of them; look at the quality of both",
        )
    if choice == "upstream":
        yield from _upstream(given, isa)


def _torch(wanted: bool) -> Warned:
    return (
        "fallback-kernel",
        "4-bit weights are served by PyTorch's operator (torch)",
        "it was asked for" if wanted else _no_library(),
        "leave four_bit=torch out" if wanted else "make setup compiles kernels for this CPU",
    )


def _no_library() -> str:
    made = any((home() / "vllm_cpu").glob("*/seal.json"))
    if made:
        return "the compiled kernels are of other sources or for another PyTorch than is installed"
    return "no kernels were compiled here"


def _upstream(given: Mapping[str, str], isa: set[str]) -> Iterator[Warned]:
    """Which of upstream's two products it will be: as `CPUWNA16LinearKernel` chooses."""
    in_bfloat16 = given.get("dtype", "bfloat16") == "bfloat16"
    if "amx_tile" in isa and in_bfloat16 and os.environ.get(_W4A8, "1") != "0":
        yield (
            "rounded-activations",
            "vLLM's own 4-bit product on a CPU with AMX",
            _UPSTREAM_ROUNDS,
            f"leave four_bit=upstream out, or set {_W4A8}=0",
        )
    else:
        yield (
            "slower-kernel",
            "vLLM's own 4-bit product",
            _UPSTREAM_SLOW,
            "leave four_bit=upstream out, or compare with bf16",
        )


def _int8(given: Mapping[str, str], isa: set[str]) -> Iterator[Warned]:
    """oneDNN's product is exact with VNNI, in AVX-512's form or in AVX2's."""
    if vllm_products.int8(given) != "upstream" or isa & {"avx512_vnni", "avx_vnni"}:
        return
    if vllm_products.asked(vllm_products.INT8, given) == "upstream":
        yield (
            "inexact-kernel",
            "INT8 weights are served by vLLM's own product on a CPU without VNNI",
            f"it was asked for; {_INEXACT_INT8}",
            "leave int8=upstream out: our kernel's sums are exact",
        )
    else:
        yield (
            "fallback-kernel",
            "INT8 weights are served by vLLM's own product on a CPU without VNNI",
            f"{_no_library()}; {_INEXACT_INT8}",
            "make setup compiles a kernel for this CPU whose sums are exact",
        )


def _cache(given: Mapping[str, str], isa: set[str]) -> Iterator[Warned]:
    kind = given.get(vllm_kv.OPTION)
    if kind == "fp8-upstream":
        yield (
            "inexact-kernel",
            "an FP8 key-value cache written by vLLM itself",
            "its writer cuts off the bits that do not fit: twice the error of rounding, towards 0",
            "--quant fp8-kv, or --option kv_cache_dtype=fp8, rounds to nearest",
        )
    elif kind == "fp8" and not isa & {"avx512f", "amx_tile"} and vllm_products.library() is None:
        yield (
            "fallback-kernel",
            "an FP8 key-value cache served by PyTorch's operators",
            f"{_no_library()}; the numbers are the same, at a fraction of the speed",
            "make setup compiles kernels for this CPU",
        )
