"""vLLM's interface to the 4-bit kernels: weights repacked once after loading, one operator a layer.

vLLM hands GPTQ, AWQ and compressed-tensors weights over in GPTQ's layout. The class name is what
vLLM logs, so each mode is a class: the log proves which kernel served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from vllm.logger import init_logger
from vllm.model_executor.kernels.linear.mixed_precision.MPLinearKernel import (
    MPLinearKernel,
    MPLinearLayerConfig,
)
from vllm.model_executor.layers.quantization.utils import replace_parameter
from vllm.model_executor.layers.quantization.utils.quant_utils import (
    unpack_quantized_values_into_int32,
)
from vllm.platforms import current_platform
from vllm.scalar_type import scalar_types

from quantswarm.engines.vllm_cpu import fallback, kernels, layout, settings

if TYPE_CHECKING:
    from torch.nn import Module

logger = init_logger("vllm.quantswarm")
_TYPES = (scalar_types.uint4, scalar_types.uint4b8)
_ACTIVATIONS = (torch.bfloat16, torch.float32, torch.float16)


class _FourBit(MPLinearKernel):  # type: ignore[misc]  # vLLM is not analysed
    """What the kernels share: what they take, and weights unpacked from GPTQ's layout."""

    @classmethod
    def get_min_capability(cls) -> int:
        return -1

    @classmethod
    def can_implement(cls, c: MPLinearLayerConfig) -> tuple[bool, str | None]:
        reason = cls._refusal(c)
        return reason is None, reason

    @classmethod
    def _refusal(cls, c: MPLinearLayerConfig) -> str | None:
        if not current_platform.is_cpu():
            return "it is for CPUs"
        if c.weight_type not in _TYPES:
            return f"weights of type {c.weight_type}; it has 4 bits without sign"
        if c.act_type not in _ACTIVATIONS:
            return f"activations of type {c.act_type}"
        return layout.refusal(c.partition_weight_shape[0], c.group_size)

    def process_weights_after_loading(self, layer: Module) -> None:
        """Take the loaded tensors, and leave packed ones under the same names."""
        q, scale, zero = self._loaded(layer)
        group = self.config.group_size
        self._pack(layer, q, scale, zero, q.shape[1] if group == -1 else group)
        if getattr(layer, "bias", None) is not None:
            layer.bias.data = layer.bias.data.float()

    def _loaded(self, layer: Module) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """`q` [outputs, inputs], `scale`, `zero` [groups, outputs]; some formats lie across."""
        weight, scales = getattr(layer, self.w_q_name), getattr(layer, self.w_s_name)
        across = weight.input_dim == 1
        packed = weight.data.t() if across else weight.data
        q = unpack_quantized_values_into_int32(packed, self.config.weight_type, 0)
        scale = scales.data.t() if scales.output_dim == 0 else scales.data
        if not self.config.zero_points:
            return q.t().to(torch.uint8), scale, None
        zeros = getattr(layer, self.w_zp_name or "")
        packed_zero = zeros.data.t() if zeros.output_dim == 0 else zeros.data
        zero = unpack_quantized_values_into_int32(packed_zero, self.config.weight_type, 1)
        return q.t().to(torch.uint8), scale, zero

    def _pack(
        self,
        layer: Module,
        q: torch.Tensor,
        scale: torch.Tensor,
        zero: torch.Tensor | None,
        group: int,
    ) -> None:
        raise NotImplementedError

    def _replace(self, layer: Module, name: str | None, value: torch.Tensor | None) -> None:
        if name is None:
            return
        if value is None:
            setattr(layer, name, None)
        else:
            replace_parameter(layer, name, torch.nn.Parameter(value, requires_grad=False))


class _Compiled(_FourBit):
    mode: ClassVar[str]

    def _pack(
        self,
        layer: Module,
        q: torch.Tensor,
        scale: torch.Tensor,
        zero: torch.Tensor | None,
        group: int,
    ) -> None:
        runs_here = kernels.load(settings.library())
        wide = self.config.act_type != torch.bfloat16
        self.choice = kernels.choose4(self.mode, wide, runs_here)
        logger.info_once("Using quantswarm:%s kernel for 4-bit weights", self.choice.name)
        packed = layout.pack4(q, layout.narrowed(scale), zero, group)
        self.outputs = packed.outputs
        self._replace(layer, self.w_q_name, packed.q)
        self._replace(layer, self.w_s_name, packed.scale)
        self._replace(layer, self.w_zp_name, packed.zero)

    def apply_weights(
        self, layer: Module, x: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        q, scale, zero = self._get_weight_params(layer)
        given = x.float() if x.dtype == torch.float16 else x
        y = kernels.call4(given, q, scale, zero, bias, self.outputs, self.choice)
        return y.to(x.dtype)


class QuantswarmW4A16LinearKernel(_Compiled):
    """Activations keep 16 bits."""

    mode = "w4a16"


class QuantswarmW4A8LinearKernel(_Compiled):
    """Activations are rounded to 8 bits, 32 of them with one scale."""

    mode = "w4a8"


class QuantswarmTorchInt4LinearKernel(_FourBit):
    """PyTorch's operator, where there is no compiled library."""

    @classmethod
    def _refusal(cls, c: MPLinearLayerConfig) -> str | None:
        inputs, outputs = c.partition_weight_shape
        return super()._refusal(c) or fallback.refusal(inputs, outputs, c.group_size)

    def _pack(
        self,
        layer: Module,
        q: torch.Tensor,
        scale: torch.Tensor,
        zero: torch.Tensor | None,
        group: int,
    ) -> None:
        logger.info_once("Using quantswarm:torch kernel for 4-bit weights")
        packed = fallback.pack(q, scale, zero, group)
        self.group = group
        self._replace(layer, self.w_q_name, packed.packed)
        self._replace(layer, self.w_s_name, packed.scales_and_zeros)
        self._replace(layer, self.w_zp_name, None)

    def apply_weights(
        self, layer: Module, x: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        q, scales_and_zeros, _ = self._get_weight_params(layer)
        weights = fallback.TorchPacked4(
            packed=q, scales_and_zeros=scales_and_zeros, group=self.group
        )
        y = fallback.linear(x, weights)
        return y if bias is None else (y + bias).to(x.dtype)
