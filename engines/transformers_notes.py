"""Named warnings about what transformers computes with: known beforehand, or by a server's log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from quantswarm.engines import vllm_warnings
from quantswarm.engines.base import ServeSpec
from quantswarm.models.space import readable

if TYPE_CHECKING:
    from quantswarm.engines.hardware import Host

Warned = tuple[str, str, str, str]
_SHRUNK = 0.75
"""Of the bytes before, at most, for a quantization that has shrunk a model."""
_FALLBACKS = {
    "bitsandbytes::int8_linear_matmul[float32]": (
        "bitsandbytes' INT8 products are computed in float32",
        "without AVX-512 it has no product of 8-bit integers",
    ),
    "bitsandbytes::gemv_4bit[libbitsandbytes_cpu]": (
        "4-bit weights are served by bitsandbytes' own product for bfloat16",
        "the package kernels is not installed, by which bitsandbytes would download a faster one",
    ),
    "bitsandbytes::dequantize_4bit+aten::linear": (
        "4-bit weights are unpacked to floats for every product",
        "this CPU has no AVX-512 with bfloat16, which bitsandbytes' 4-bit product needs",
    ),
}


def beforehand(
    host: Host, quant: str | None, spec: ServeSpec, *, batched: bool
) -> tuple[Warned, ...]:
    """(name, seen, cause, advice) of each; those of emulated types are vLLM's, it is one CPU."""
    return (*vllm_warnings.beforehand(host, quant, spec), *_batched(quant, spec, batched=batched))


def afterwards(quant: str | None, loaded: Mapping[str, Any]) -> tuple[Warned, ...]:
    """From what the server said of its model; nothing before it did."""
    return (*_fallback(loaded), *_not_shrunk(quant, loaded))


def _batched(quant: str | None, spec: ServeSpec, *, batched: bool) -> Iterator[Warned]:
    if not batched:
        return
    if spec.device == "cpu":
        yield (
            "masked-attention",
            "continuous batching of transformers on a CPU",
            (
                "without FlashAttention each request's attention is computed over the keys of all"
                " requests, and those of the others are masked out"
            ),
            "expect its gain to shrink with long contexts and many users",
        )
    if quant == "int8-dynamic":
        yield (
            "shared-scale",
            "dynamic INT8 with continuous batching",
            (
                "activations get one scale for all tokens of a step, so that an answer depends on"
                " the requests that are computed beside it"
            ),
            "continuous_batching=off where answers must repeat",
        )


def _fallback(loaded: Mapping[str, Any]) -> Iterator[Warned]:
    known = _FALLBACKS.get(str(loaded.get("product")))
    if known is not None:
        yield (
            "fallback-kernel",
            *known,
            "compare with fp32 and bf16, and with --engine vllm --quant int8 or w4a16",
        )


def _not_shrunk(quant: str | None, loaded: Mapping[str, Any]) -> Iterator[Warned]:
    """PyTorch quantizes `nn.Linear` alone: GPT-2's layers are none, and its head is shared."""
    before, after = loaded.get("bytes_before"), loaded.get("bytes")
    if before is None or after is None or after <= _SHRUNK * before:
        return
    left: Mapping[str, int] = loaded.get("left") or {}
    quantized, others = int(loaded.get("quantized") or 0), sum(left.values())
    listed = ", ".join(f"{count / 1e6:.1f} M in {kind}" for kind, count in left.items())
    yield (
        "not-shrunk",
        (
            f"{quant} did not shrink the model: {readable(before)} of weights before,"
            f" {readable(after)} after"
        ),
        (
            f"{quantized / 1e6:.1f} M weights became INT8 and {others / 1e6:.1f} M stay float32"
            f" ({listed}): PyTorch's dynamic quantization takes nn.Linear alone, and copies a head"
            " that shares the embeddings"
        ),
        "bnb-int8 and bnb-nf4 take Conv1D too; or an engine that quantizes beforehand",
    )
