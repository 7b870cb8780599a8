"""What a llama-server would compute, read out of its own libraries: it scores no prompts itself.

The settings are taken from the server's command, so that the key-value cache, attention, threads
and layers on a GPU are those that serve. A child process loads the libraries that lie beside the
server's program (`llama_cpp_score`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantswarm.engines import score_child
from quantswarm.engines.options import last_given
from quantswarm.models.errors import NotAvailable

if TYPE_CHECKING:
    from quantswarm.models.dequantize import Floats

GGML_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "bf16": 30}
ATTENTION = {"auto": -1, "off": 0, "on": 1}
EVERY_LAYER = 999


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides the numbers, as the child reads it; types are ggml's numbers for them."""

    model: str
    threads: int
    threads_batch: int
    type_k: int
    type_v: int
    flash_attn: int
    gpu_layers: int


def settings(argv: Sequence[str]) -> Settings:
    """From a llama-server's command; what it does not say has the server's default."""

    def given(flag: str, default: str) -> str:
        return last_given(argv, flag) or default

    threads = int(given("-t", "1"))
    layers = given("-ngl", "0")
    return Settings(
        model=given("-m", ""),
        threads=threads,
        threads_batch=int(given("-tb", str(threads))),
        type_k=GGML_TYPES[given("-ctk", "f16")],
        type_v=GGML_TYPES[given("-ctv", "f16")],
        flash_attn=ATTENTION[given("-fa", "auto")],
        gpu_layers=EVERY_LAYER if layers == "all" else int(layers),
    )


def rows(
    argv: Sequence[str], folder: Path, windows: Sequence[Sequence[int]], log: Path
) -> Iterator[Floats]:
    """For each window of n ids [n - 1, vocabulary] log-probabilities, by the libraries in `folder`.

    `log` gets what llama.cpp says. `NotAvailable` without those libraries or the Python package,
    `RunFailed` with the log's end when the child fails.
    """
    _require(folder)
    yield from score_child.rows(
        "quantswarm.engines.llama_cpp_score",
        asdict(settings(argv)),
        windows,
        log,
        asked="llama.cpp",
        env={"LLAMA_CPP_LIB_PATH": str(folder)},
    )


def _require(folder: Path) -> None:
    if importlib.util.find_spec("llama_cpp") is None:
        reason = "llama-cpp-python is not installed"
    elif not (folder / "libllama.so").exists():
        reason = f"no libllama.so beside the server's program, in {folder}"
    else:
        return
    raise NotAvailable(
        "log-probabilities by llama.cpp in process",
        reason,
        evidence="llama-server scores no prompts; its own libraries must be asked.",
        next_step="make setup compiles them",
    )
