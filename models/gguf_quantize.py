"""The steps that all GGUF recipes share: one F16 file a model, then llama.cpp's own quantizer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quantswarm.models import gguf_file, gguf_tools
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import BuildFailed, NotAvailable, UnsupportedPair
from quantswarm.models.recipes import Recipe, recipe_named
from quantswarm.models.space import require_disk

TOOL = gguf_tools.QUANTIZE
IMPORTANCE_SUFFIX = "-im"
_LAST_LINES = 12


def recipe(
    name: str, summary: str, *, importance: bool = False, aliases: tuple[str, ...] = ()
) -> Recipe:
    """A recipe that quantizes the model's F16 GGUF to llama.cpp's type of that name.

    With `importance` an importance matrix guides it; a name ending in `-im` is the type before it.
    """
    return Recipe(
        name=name,
        format="gguf",
        summary=summary,
        build=builder(name.removesuffix(IMPORTANCE_SUFFIX), importance=importance),
        requires=(TOOL, gguf_tools.IMPORTANCE) if importance else (TOOL,),
        aliases=aliases,
    )


def cache_recipe(kind: str, number: int) -> Recipe:
    """The weights of `f16`, served with a key-value cache of ggml's type `kind`."""
    python_flags = ("--type_k", str(number), "--type_v", str(number), "--flash_attn", "True")
    return Recipe(
        name=f"{kind}-kv",
        format="gguf",
        summary=f"float16 GGUF, key-value cache in {kind}",
        build=build_f16,
        weights="f16",
        serve_flags={
            "llamacpp": ("-ctk", kind, "-ctv", kind, "-fa", "on"),
            "llamacpp-python": python_flags,
        },
    )


def builder(quant: str, *, importance: bool = False) -> Callable[[ModelSource, Path], Path]:
    """The `build` of a recipe whose weights are llama.cpp's type `quant`."""

    def build(model: ModelSource, workdir: Path) -> Path:
        from quantswarm.models import store

        out = workdir / "model.gguf"
        if model.gguf is not None:
            require_unquantized(model.gguf, quant)
            return quantize(model.gguf, out, quant, importance=importance)
        try:
            _require_convertible(model)
        except UnsupportedPair:
            ready = _ready_made(model, quant)
            if ready is None:
                raise
            return ready
        _require_tools(importance)  # before minutes of conversion, not after
        wide = store.artefact(model, recipe_named("f16"))
        return quantize(wide.path, out, quant, importance=importance)

    return build


def _require_convertible(model: ModelSource) -> None:
    from quantswarm.models import gguf_convert, gguf_vocabulary, hf_folder

    assert model.folder is not None
    asked = f"GGUF of model {model.name!r}"
    gguf_convert.require_convertible(hf_folder.inspect(model.folder, asked), asked)
    tokenizer = hf_folder.read_json(model.folder / "tokenizer.json", asked)
    gguf_vocabulary.pre_tokenizer(tokenizer, asked)


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


def _require_tools(importance: bool) -> None:
    gguf_tools.program(TOOL)
    if importance:
        gguf_tools.program(gguf_tools.IMPORTANCE)


def quantize(wide: Path, out: Path, quant: str, *, importance: bool = False) -> Path:
    """Run llama-quantize; `BuildFailed` with its last lines unless it made a whole file.

    Tensors whose rows do not fit the type get a near one; that is said on stderr, and kept in
    `quantization.json` beside the file.
    """
    from quantswarm.models import gguf_importance, store

    asked = f"{quant} of {wide.name}"
    require_disk(out.parent, wide.stat().st_size, asked)
    matrix = gguf_importance.importance(wide) if importance else None
    options = ("--imatrix", str(matrix.path)) if matrix else ()
    kind = quant.removesuffix("-gguf").upper()
    threads = str(len(os.sched_getaffinity(0)))
    argv = [str(gguf_tools.program(TOOL)), *options, str(wide), str(out), kind, threads]
    ended = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    log = (ended.stdout + ended.stderr).splitlines()
    _require_made(ended.returncode, argv, log, out, asked)
    header = gguf_file.read(out)
    if header.quant != quant:
        raise BuildFailed(
            asked,
            f"{TOOL} made {header.quant}",
            evidence="\n".join(log[-_LAST_LINES:]),
            next_step="set LLAMA_QUANTIZE_BIN to the program of the pinned version (make setup)",
        )
    fell_back = fallbacks(log)
    if fell_back:
        print(f"{asked}: {len(fell_back)} tensors do not fit the type", file=sys.stderr)
    account = out.with_name(store.PROVENANCE)
    facts = provenance(header, fell_back, matrix.facts if matrix else None)
    account.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return out


def _require_made(status: int, argv: list[str], log: list[str], out: Path, asked: str) -> None:
    if status == 0 and out.is_file():
        return
    if any("invalid ftype" in line for line in log):
        raise NotAvailable(
            asked,
            f"this {TOOL} does not know the type",
            evidence=f"Asked: {argv[0]}",
            next_step=f"make setup, with {gguf_tools.variable(TOOL)} unset",
        )
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    raise BuildFailed(
        asked,
        f"{TOOL} {how}",
        evidence="\n".join(log[-_LAST_LINES:]),
        next_step=" ".join(argv),
    )


def fallbacks(log: list[str]) -> list[str]:
    """What llama-quantize says of each tensor that got another type than the recipe's."""
    return [" ".join(line.split()) for line in log if "falling back to" in line]


def provenance(
    header: gguf_file.GgufHeader, fell_back: list[str], importance: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What `quantization.json` says."""
    return {
        "method": TOOL,
        "type": header.quant,
        "bits_per_weight": round(header.bits_per_weight, 3),
        "tensors": header.types,
        "fallbacks": fell_back,
        "importance": dict(importance) if importance else None,
    }
