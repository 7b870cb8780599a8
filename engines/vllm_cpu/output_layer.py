"""The output layer kept in the checkpoint's 16 bits where vLLM computes in float32: half the bytes.

Checkpoints with quantized weights leave it unquantized, and with few requests reading it takes
longer than all quantized layers together. Every 16-bit value is a float32 value, so the product is
the same but for the order of its sums. A layer with other weights is left to vLLM.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from vllm.logger import init_logger

from quantswarm.engines.vllm_cpu import kernels, layout

if TYPE_CHECKING:
    from pathlib import Path

logger = init_logger("vllm.quantswarm")
STEP = 8
"""Inputs that the product reads at once; their number must be a multiple of it."""


def install(library: Path) -> None:
    """Let vLLM's choice of unquantized products ask us first, in this process."""
    from vllm.model_executor.layers import utils

    if kernels.NARROW not in kernels.load(library):
        return
    original = utils.dispatch_cpu_unquantized_gemm
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def dispatch(layer: Any, remove_weight: bool) -> None:
        if not _narrowed(layer):
            original(layer, remove_weight)

    utils.dispatch_cpu_unquantized_gemm = dispatch


def narrow(weight: torch.Tensor) -> torch.Tensor | None:
    """`weight` [outputs, inputs] in 16 bits if that changes no value, else None."""
    if weight.dtype != torch.float32 or weight.dim() != 2 or weight.shape[1] % STEP:
        return None
    found = layout.narrowed(weight)
    return None if found.dtype == torch.float32 else found


def _narrowed(layer: Any) -> bool:
    """Whether it is a quantized model's output layer, and now serves from 16 bits."""
    from vllm.config import get_current_vllm_config
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    if not isinstance(layer, ParallelLMHead) or layer.weight.is_meta:
        return False
    if get_current_vllm_config().quant_config is None:
        return False
    kept = narrow(layer.weight.data)
    if kept is None:
        return False
    layer.cpu_linear = lambda x, _, bias: kernels.linear16(x, kept, bias)
    logger.info_once("Using quantswarm:%s kernel for the output layer", kernels.NARROW)
    return True
