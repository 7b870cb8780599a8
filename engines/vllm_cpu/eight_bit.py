"""vLLM's interface to the int8 kernel: W8A8 of compressed-tensors with exact 32-bit sums.

For processors without VNNI, where oneDNN's product is slow and saturates pairs at 16 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from vllm.logger import init_logger
from vllm.model_executor.kernels.linear.scaled_mm.ScaledMMLinearKernel import (
    Int8ScaledMMLinearKernel,
    Int8ScaledMMLinearLayerConfig,
)
from vllm.model_executor.layers.quantization.utils.w8a8_utils import convert_to_channelwise
from vllm.platforms import current_platform

from quantswarm.engines.vllm_cpu import kernels, layout, settings

if TYPE_CHECKING:
    from torch.nn import Module

logger = init_logger("vllm.quantswarm")


class QuantswarmInt8LinearKernel(Int8ScaledMMLinearKernel):  # type: ignore[misc]
    """One scale an output, one a token, found as tokens come; both symmetric."""

    @classmethod
    def is_supported(
        cls,
        compute_capability: int | None = None,  # noqa: ARG003  # vLLM's interface
    ) -> tuple[bool, str | None]:
        return (True, None) if current_platform.is_cpu() else (False, "it is for CPUs")

    @classmethod
    def can_implement(cls, c: Int8ScaledMMLinearLayerConfig) -> tuple[bool, str | None]:
        if c.is_static_input_scheme:
            return False, "activations with a fixed scale"
        if not c.input_symmetric:
            return False, "activations with a zero point"
        return True, None

    def process_weights_after_loading(self, layer: Module) -> None:
        """Take the loaded tensors, and leave packed ones under the same names."""
        weight_name, scale_name, _, _, sum_name = self.layer_param_names
        weight, scale = getattr(layer, weight_name).data, getattr(layer, scale_name).data
        if not self.config.is_channelwise:
            scale = convert_to_channelwise(scale, layer.logical_widths)
        self.kernel = kernels.choose8(kernels.load(settings.library()))
        logger.info_once("Using quantswarm:%s kernel for 8-bit weights", self.kernel)
        packed = layout.pack8(weight, scale)
        self.outputs = packed.outputs
        for name, value in (
            (weight_name, packed.q),
            (scale_name, packed.scale),
            (sum_name, packed.sum),
        ):
            _keep(layer, name, value)
        if getattr(layer, "bias", None) is not None:
            layer.bias.data = layer.bias.data.float()

    def apply_weights(
        self, layer: Module, x: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        q, scale, _, _, sums = self._get_layer_params(layer)
        weights = layout.Packed8(q=q, scale=scale, sum=sums, outputs=self.outputs)
        given = x.float() if x.dtype == torch.float16 else x
        return kernels.linear8(given, weights, bias, self.kernel).to(x.dtype)


def _keep(layer: Module, name: str, value: torch.Tensor) -> None:
    """Whatever stood under this name: a tensor of another shape, None, or nothing."""
    if hasattr(layer, name):
        delattr(layer, name)
    layer.register_parameter(name, torch.nn.Parameter(value, requires_grad=False))
