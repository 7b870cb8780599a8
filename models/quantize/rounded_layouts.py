"""Layouts of a matrix rounded to nearest: GPTQ, AWQ, compressed-tensors FP8."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quantswarm.models.quantize.settings import Settings

GROUP = Settings().group_size

Made = tuple[dict[str, Any], Any]
"""The parts of a layer by their last names, and the weight that they stand for."""
Facts = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`parts` foretells type and shape of each part from (outputs, inputs); `make` makes them from
    the float32 weight. `config` is the checkpoint's `quantization_config`."""

    method: str
    grouped: bool
    symmetric: bool
    parts: Callable[[int, int], Mapping[str, Facts]]
    make: Callable[[Any], Made]
    config: Callable[[], dict[str, Any]]


def _gptq_parts(outputs: int, inputs: int) -> Mapping[str, Facts]:
    groups = inputs // GROUP
    return {
        "qweight": ("I32", (inputs // 8, outputs)),
        "qzeros": ("I32", (groups, outputs // 8)),
        "scales": ("F16", (groups, outputs)),
        "g_idx": ("I32", (inputs,)),
    }


def _awq_parts(outputs: int, inputs: int) -> Mapping[str, Facts]:
    groups = inputs // GROUP
    return {
        "qweight": ("I32", (inputs, outputs // 8)),
        "qzeros": ("I32", (groups, outputs // 8)),
        "scales": ("F16", (groups, outputs)),
    }


def _gptq(weight: Any) -> Made:
    from quantswarm.models.quantize import grouped, nearest

    found = nearest.four_bit(weight, GROUP, symmetric=True)
    return grouped.to_gptq(found), found.dequantized()


def _awq(weight: Any) -> Made:
    from quantswarm.models.quantize import grouped, nearest

    found = nearest.four_bit(weight, GROUP, symmetric=False)
    return grouped.to_awq(found), found.dequantized()


def _fp8(weight: Any) -> Made:
    from quantswarm.models.quantize import nearest

    codes, scale = nearest.fp8_codes(weight)
    return {"weight": codes, "weight_scale": scale}, nearest.e4m3()[codes] * scale


def _gptq_config() -> dict[str, Any]:
    return {
        "quant_method": "gptq",
        "bits": 4,
        "group_size": GROUP,
        "sym": True,
        "desc_act": False,
        "checkpoint_format": "gptq",
        "lm_head": False,
        "pack_dtype": "int32",
    }


def _awq_config() -> dict[str, Any]:
    from quantswarm.models.quantize import finish

    return finish.awq_config(GROUP)


def _fp8_config() -> dict[str, Any]:
    """compressed-tensors' FP8_DYNAMIC: one scale an output, activations by token while serving."""
    eight = {"num_bits": 8, "type": "float", "symmetric": True}
    group = {
        "format": "float-quantized",
        "targets": ["Linear"],
        "weights": {**eight, "strategy": "channel", "dynamic": False},
        "input_activations": {**eight, "strategy": "token", "dynamic": True},
        "output_activations": None,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
    }


GPTQ = Layout(
    method="gptq",
    grouped=True,
    symmetric=True,
    parts=_gptq_parts,
    make=_gptq,
    config=_gptq_config,
)
AWQ = Layout(
    method="awq", grouped=True, symmetric=False, parts=_awq_parts, make=_awq, config=_awq_config
)
FP8 = Layout(
    method="fp8",
    grouped=False,
    symmetric=True,
    parts=lambda outputs, inputs: {
        "weight": ("F8_E4M3", (outputs, inputs)),
        "weight_scale": ("F32", (outputs, 1)),
    },
    make=_fp8,
    config=_fp8_config,
)
