"""The product that vLLM's CPU plugin serves 4-bit and INT8 weights with, as engine options."""

from __future__ import annotations

from collections.abc import Mapping

from quantswarm.engines.vllm_cpu import settings
from quantswarm.models.errors import UnknownName

FOUR_BIT = "four_bit"
INT8 = "int8"
OPTIONS = {
    FOUR_BIT: f"{'|'.join(settings.FOUR_BIT_CHOICES)}: product of 4-bit weights on the CPU",
    INT8: f"{'|'.join(settings.INT8_CHOICES)}: product of INT8 weights on the CPU",
}
_VARIABLES = {
    FOUR_BIT: (settings.FOUR_BIT, settings.FOUR_BIT_CHOICES),
    INT8: (settings.INT8, settings.INT8_CHOICES),
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
