"""The steps that all GGUF recipes share: one F16 file a model, then llama.cpp's own quantizer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from quantswarm.models import gguf_file
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import BuildFailed, NotAvailable, UnsupportedPair
from quantswarm.models.recipes import Recipe, recipe_named
from quantswarm.models.space import require_disk

TOOL = "llama-quantize"
_TOOL_VARIABLE = "LLAMA_QUANTIZE_BIN"
_LAST_LINES = 12


def recipe(name: str, summary: str, *, aliases: tuple[str, ...] = ()) -> Recipe:
    """A recipe that quantizes the model's F16 GGUF to llama.cpp's type of that name."""
    return Recipe(
        name=name,
        format="gguf",
        summary=summary,
        build=builder(name),
        requires=(TOOL,),
        aliases=aliases,
    )


def builder(quant: str) -> Callable[[ModelSource, Path], Path]:
    """The `build` of a recipe whose weights are llama.cpp's type `quant`."""

    def build(model: ModelSource, workdir: Path) -> Path:
        from quantswarm.models import store

        if model.gguf is not None:
            require_unquantized(model.gguf, quant)
            return quantize(model.gguf, workdir / "model.gguf", quant)
        try:
            _require_convertible(model)
        except UnsupportedPair:
            ready = _ready_made(model, quant)
            if ready is None:
                raise
            return ready
        tool()  # before minutes of conversion, not after
        wide = store.artefact(model, recipe_named("f16"))
        return quantize(wide.path, workdir / "model.gguf", quant)

    return build


def _require_convertible(model: ModelSource) -> None:
    from quantswarm.models import gguf_convert, gguf_vocabulary, hf_folder

    assert model.folder is not None
    asked = f"GGUF of model {model.name!r}"
    gguf_convert.require_convertible(hf_folder.inspect(model.folder, asked), asked)
    tokenizer = hf_folder.read_json(model.folder / "tokenizer.json", asked)
    gguf_vocabulary.require_gpt2_style(tokenizer, asked)


def _ready_made(model: ModelSource, quant: str) -> Path | None:
    """The catalogue's own GGUF of a model that is not converted here (Qwen2.5, say)."""
    from quantswarm.models import catalogue, hub

    entry = catalogue.find(model.name)
    if entry is None or entry.ready_gguf(quant) is None:
        return None
    return hub.source(entry, quant).gguf


def build_f16(model: ModelSource, workdir: Path) -> Path:
    """The `build` of f16: converted here from safetensors, or by llama.cpp from a wider GGUF."""
    out = workdir / "model.gguf"
    if model.gguf is not None:
        require_unquantized(model.gguf, "f16")
        return quantize(model.gguf, out, "f16")
    from quantswarm.models.gguf_check import require_same_ids
    from quantswarm.models.gguf_convert import convert

    assert model.folder is not None
    convert(model.folder, out, model.name)
    require_same_ids(out, model.folder / "tokenizer.json")
    return out


def require_unquantized(path: Path, quant: str) -> None:
    """`UnsupportedPair` for a quantized file: quantizing twice would be measured as one."""
    own = gguf_file.read(path).quant
    if own not in gguf_file.UNQUANTIZED:
        known = own or "an unknown type"
        raise UnsupportedPair(
            f"quantization {quant!r} of {path.name}",
            f"the file is {known} already; only {', '.join(gguf_file.UNQUANTIZED)} are quantized",
            next_step=f"use QUANT={own}" if own else "give the model's original folder",
        )


def tool() -> Path:
    """llama-quantize: from `LLAMA_QUANTIZE_BIN`, `PATH`, set-up's folder; else `NotAvailable`."""
    from quantswarm.models.store import home

    asked = os.environ.get(_TOOL_VARIABLE)
    built = home() / "llama.cpp" / "current" / "bin" / TOOL
    if asked:
        if os.access(asked, os.X_OK) and Path(asked).is_file():
            return Path(asked)
        raise NotAvailable(
            TOOL,
            f"{_TOOL_VARIABLE} names {asked}, which is no program",
            next_step=f"correct or unset {_TOOL_VARIABLE}",
        )
    found = shutil.which(TOOL)
    if found:
        return Path(found)
    if os.access(built, os.X_OK):
        return built
    raise NotAvailable(
        TOOL,
        "llama.cpp's tools are not here",
        evidence=f"Looked at {_TOOL_VARIABLE}, PATH and {built}.",
        next_step="make setup",
    )


def quantize(wide: Path, out: Path, quant: str) -> Path:
    """Run llama-quantize; `BuildFailed` with its last lines unless it made a whole file.

    Tensors whose rows do not fit the type get a near one; that is said on stderr.
    """
    asked = f"{quant} of {wide.name}"
    require_disk(out.parent, wide.stat().st_size, asked)
    threads = str(len(os.sched_getaffinity(0)))
    argv = [str(tool()), str(wide), str(out), quant.upper(), threads]
    ended = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    log = (ended.stdout + ended.stderr).splitlines()
    if ended.returncode != 0 or not out.is_file():
        raise BuildFailed(
            asked,
            f"{TOOL} ended with status {ended.returncode}",
            evidence="\n".join(log[-_LAST_LINES:]),
            next_step=" ".join(argv),
        )
    made = gguf_file.read(out).quant
    if made != quant:
        raise BuildFailed(
            asked,
            f"{TOOL} made {made}",
            evidence="\n".join(log[-_LAST_LINES:]),
            next_step="set LLAMA_QUANTIZE_BIN to the program of the pinned version (make setup)",
        )
    changed = sum("fallback" in line for line in log)
    if changed:
        print(f"{asked}: {changed} lines of {TOOL} speak of a fallback type", file=sys.stderr)
    return out
