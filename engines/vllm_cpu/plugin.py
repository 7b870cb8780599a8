"""vLLM's entry point (group `vllm.general_plugins`): puts our kernels before upstream's on CPUs.

vLLM calls `register` in each of its processes. A kernel that cannot serve a layer says why and vLLM
asks the next one, so nothing that upstream serves is lost.
"""

from __future__ import annotations

from typing import Any

from quantswarm.engines.vllm_cpu import build, compiler_flags, settings
from quantswarm.models.store import home


def register() -> None:
    """Does nothing on other platforms, and nothing twice."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    _ask_for_amx()
    found = build.find(home())
    if found is not None:
        compiler_flags.install(build.compiler_of(found))
    from vllm.model_executor.kernels import linear
    from vllm.platforms import PlatformEnum

    # vLLM's `register_linear_kernel` appends, which would leave upstream's kernel before ours.
    four_bit = _four_bit_kernel(settings.four_bit())
    if four_bit is not None:
        _put_first(linear._POSSIBLE_KERNELS[PlatformEnum.CPU], four_bit)  # noqa: SLF001
        _allow_float32()
    if settings.int8() == "exact":
        from quantswarm.engines.vllm_cpu.eight_bit import QuantswarmInt8LinearKernel

        int8 = linear._POSSIBLE_INT8_KERNELS[PlatformEnum.CPU]  # noqa: SLF001
        _put_first(int8, QuantswarmInt8LinearKernel)
    if settings.output_layer() == "w16":
        from quantswarm.engines.vllm_cpu import output_layer

        output_layer.install(settings.library())
    if settings.fp8_kv() == "rounded":
        from quantswarm.engines.vllm_cpu import fp8_kv

        fp8_kv.install(found)


def _ask_for_amx() -> None:
    """Linux gives a process the AMX registers on request only, and SIGILL without.

    Upstream's attention uses them and does not ask: where no larger product made oneDNN ask before,
    as in a worker whose first prompt is short, it dies.
    """
    import torch

    if torch.cpu._is_amx_tile_supported():  # noqa: SLF001
        torch.cpu._init_amx()  # noqa: SLF001


def _four_bit_kernel(choice: str) -> type | None:
    from quantswarm.engines.vllm_cpu import four_bit

    kernel: type | None = {
        "w4a16": four_bit.QuantswarmW4A16LinearKernel,
        "w4a8": four_bit.QuantswarmW4A8LinearKernel,
        "torch": four_bit.QuantswarmTorchInt4LinearKernel,
    }.get(choice)
    return kernel


def _allow_float32() -> None:
    """GPTQ and AWQ with float32 activations: upstream refuses them because its kernels cannot.

    Where the processor has AVX2 only, everything beside the 4-bit layers is faster in float32.
    """
    import torch
    from vllm.model_executor.layers.quantization.auto_awq import AutoAWQConfig
    from vllm.model_executor.layers.quantization.auto_gptq import AutoGPTQConfig

    every = [torch.bfloat16, torch.float16, torch.float32]
    for config in (AutoAWQConfig, AutoGPTQConfig):
        config.get_supported_act_dtypes = classmethod(lambda _: every)


def _put_first(kernels: list[Any], kernel: type) -> None:
    if kernel not in kernels:
        kernels.insert(0, kernel)
