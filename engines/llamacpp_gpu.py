"""llama.cpp on a GPU: its layers, its flash attention, what its log says of both, and whether its
CUDA library can be loaded at all: where it cannot, llama.cpp goes on without it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantswarm.engines.base import ServeSpec
from quantswarm.models.errors import UnknownName, UserMistake

ATTENTION = "flash_attention"
CHOICES = ("on", "off", "auto")
MEANING = f"{'|'.join(CHOICES)}: attention in one kernel (on a GPU on, else llama.cpp's own choice)"


def flags(
    given: Mapping[str, str], spec: ServeSpec, before: tuple[str, ...], reasons: dict[str, str]
) -> tuple[str, ...]:
    """Layers and attention; `before` are the flags given already, which may say `-fa`.

    On a GPU nothing is left to llama.cpp's choice: what it would decide by the memory that is free
    (`-fit`) or by where layers lie (`-fa auto`) would differ between the cells of a comparison.
    """
    found = _attention(given, spec, before, reasons)
    if spec.device != "cuda":
        return found
    layers = "all" if spec.gpu_layers < 0 else str(spec.gpu_layers)
    reasons["-fit"] = "off: context and layers are as asked for, or the server does not start"
    return (*found, "-ngl", layers, "-fit", "off")


def _attention(
    given: Mapping[str, str], spec: ServeSpec, before: tuple[str, ...], reasons: dict[str, str]
) -> tuple[str, ...]:
    asked = given.get(ATTENTION)
    if asked is not None:
        if asked not in CHOICES:
            raise UnknownName(
                f"option {ATTENTION}", asked, CHOICES, next_step=f"--option {ATTENTION}=on"
            )
        if asked == "off" and "-fa" in before:
            raise UserMistake(
                f"option {ATTENTION}=off",
                "a cache of quantized values needs flash attention",
                next_step=f"leave {ATTENTION} out, or take a cache of f16",
            )
        reasons[ATTENTION] = f"--option {ATTENTION}={asked}"
        return ("-fa", asked)
    if spec.device != "cuda" or "-fa" in before:
        return ()
    reasons[ATTENTION] = "on: declared, so that all shares of layers on the GPU compute alike"
    return ("-fa", "on")


def facts(log: str) -> dict[str, Any]:
    """`gpu_layers` ("33/33": of all that could be offloaded) and `flash_attention`, as the log
    tells them; empty for a server that has no GPU."""
    layers = re.search(r"offloaded (\d+)/(\d+) layers to GPU", log)
    if layers is None:
        return {}
    attention = re.search(r"\bflash_attn\s+= (\w+)", log)
    return {
        "gpu_layers": f"{layers[1]}/{layers[2]}",
        "flash_attention": attention[1] if attention else None,
    }


def missing_libraries(folder: Path) -> tuple[str, ...]:
    """What the CUDA library beside llama.cpp's programs needs and the system's loader cannot find;
    empty without that library, or without `ldd`."""
    names: list[str] = []
    for library in folder.glob("libggml-cuda*.so"):
        try:
            done = subprocess.run(("ldd", library), capture_output=True, text=True, check=False)
        except OSError:
            return ()
        names += re.findall(r"^\s*(\S+) => not found", done.stdout, re.MULTILINE)
    return tuple(dict.fromkeys(names))


def remarks(spec: ServeSpec, log: str) -> tuple[tuple[str, str, str, str], ...]:
    """A server that was to compute on a GPU and names none: name, seen, cause, advice."""
    if spec.device != "cuda" or facts(log):
        return ()
    layers = "all" if spec.gpu_layers < 0 else str(spec.gpu_layers)
    return (
        (
            "gpu-not-used",
            f"{layers} layers were to lie on a GPU; its log names none, so the CPU computed",
            "its CUDA library did not load, or found no GPU",
            "run make doctor, then ldd on the libggml-cuda.so beside llama-server",
        ),
    )


def devices(log: str) -> tuple[str, ...]:
    """The GPUs that llama.cpp found, as it calls them."""
    return tuple(re.findall(r"\bDevice \d+: ([^,\n]+), compute capability", log))
