"""Which products vLLM's CPU plugin serves quantized models with: engine options, defaults."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from quantswarm.engines import vllm_isa
from quantswarm.engines.vllm_cpu import build, settings
from quantswarm.models.errors import UnknownName
from quantswarm.models.store import home

FOUR_BIT = "four_bit"
INT8 = "int8"
OUTPUT = "output_layer"
OPTIONS = {
    FOUR_BIT: f"{'|'.join(settings.FOUR_BIT_CHOICES)}: product of 4-bit weights on the CPU",
    INT8: f"{'|'.join(settings.INT8_CHOICES)}: product of INT8 weights on the CPU",
    OUTPUT: f"{'|'.join(settings.OUTPUT_CHOICES)}: product of the output layer beside quantized"
    " weights in float32 on the CPU",
}
_VARIABLES = {
    FOUR_BIT: (settings.FOUR_BIT, settings.FOUR_BIT_CHOICES),
    INT8: (settings.INT8, settings.INT8_CHOICES),
    OUTPUT: (settings.OUTPUT, settings.OUTPUT_CHOICES),
}


def environment(given: Mapping[str, str], reasons: dict[str, str]) -> dict[str, str]:
    """Variables for the server, none without the options. `UnknownName` for a wrong value."""
    found = {}
    for option, (variable, choices) in _VARIABLES.items():
        asked = given.get(option)
        if asked is None:
            continue
        if asked not in choices:
            raise UnknownName(
                f"option {option}", asked, choices, next_step=f"--option {option}={choices[0]}"
            )
        reasons[variable] = f"--option {option}={asked}"
        found[variable] = asked
    return found


def asked(option: str, given: Mapping[str, str]) -> str:
    """The option's value, else that of the caller's own environment, which the server inherits."""
    return given.get(option) or settings.named(*_VARIABLES[option])


def library() -> Path | None:
    """The compiled kernels that the plugin will find; None where there are none."""
    try:
        return build.find(home())
    except importlib.metadata.PackageNotFoundError:
        return None  # without PyTorch there is no vLLM either


def four_bit(given: Mapping[str, str]) -> str:
    """What will serve 4-bit weights on a CPU: w4a16, w4a8, torch or upstream."""
    choice = asked(FOUR_BIT, given)
    if choice != "auto":
        return choice
    return "torch" if library() is None else "w4a16"


def int8(given: Mapping[str, str]) -> str:
    """What will serve INT8 weights on a CPU: exact or upstream."""
    choice = asked(INT8, given)
    if choice != "auto":
        return choice
    return "upstream" if library() is None or has_vnni(given) else "exact"


def has_vnni(given: Mapping[str, str]) -> bool:
    """Whether the compiled kernels for VNNI run here: they are made for AVX-512."""
    return "avx512_vnni" in vllm_isa.left(given)
