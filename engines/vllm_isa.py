"""vLLM held below the host's instruction set: what a lesser processor would run, on a better one.

It chooses libraries, attention and products by what PyTorch says of the processor, in each of its
processes; so PyTorch is told what to say, and the libraries beside it by their own variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from quantswarm.models.errors import UserMistake

OPTION = "isa"
_FOLDER = Path(__file__).resolve().parent / "isa_cap"


def left(given: Mapping[str, str]) -> set[str]:
    """What the server may use of the host's instruction sets (`cpu_isa`)."""
    isa = set(filter(None, given.get("cpu_isa", "").split(",")))
    return isa & {"avx2"} if OPTION in given else isa


def environment(given: Mapping[str, str], reasons: dict[str, str]) -> dict[str, str]:
    """Variables for the server, none without the option. `UserMistake` for a wrong value."""
    asked = given.get(OPTION)
    if asked is None:
        return {}
    if asked != "avx2":
        raise UserMistake(
            f"option {OPTION}={asked}", "only avx2 can be forced", next_step="--option isa=avx2"
        )
    reasons[OPTION] = "avx2 was asked for: AVX-512 and AMX are left unused, where there are any"
    # The caller's own path stays; an environment variable can only be replaced as a whole.
    path = os.pathsep.join(filter(None, (str(_FOLDER), os.environ.get("PYTHONPATH"))))
    return {
        "PYTHONPATH": path,
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "QUANTSWARM_CPU_ISA": "avx2",
    }
