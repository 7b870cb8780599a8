"""The steps that all recipes of quantized safetensors share."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import UnsupportedPair
from quantswarm.models.quantize.settings import Settings, chosen
from quantswarm.models.recipes import Recipe
from quantswarm.models.space import require_disk, require_memory

DEFAULTS = Settings()
AWQ_DEFAULTS = Settings(symmetric=False)
_GIB = 2**30
_LIBRARIES_BYTES = 1 * _GIB
"""What the process takes before it has a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """`calibrated` methods read text, and alone have settings; `grouped` ones have groups."""

    name: str
    calibrated: bool
    grouped: bool
    defaults: Settings = DEFAULTS


def recipe(method: Method, summary: str, *, format: str, devices: tuple[str, ...] = ()) -> Recipe:  # noqa: A002 — the field's name
    """A recipe whose weights the quantizing process makes."""
    return Recipe(
        name=method.name,
        format=format,
        summary=summary,
        build=builder(method),
        requires=("quantizers",),
        variant=(lambda: chosen(method.defaults).facts()) if method.calibrated else None,
        devices=devices or ("cpu", "cuda"),
    )


def builder(method: Method) -> Callable[[ModelSource, Path], Path]:
    """The `build` of that method: refusals first, then the libraries' work, then the check."""

    def build(model: ModelSource, workdir: Path) -> Path:
        from quantswarm.models import hf_folder
        from quantswarm.models.quantize import environment

        asked = f"{method.name} of {model.name}"
        folder = model.original(asked)
        settings = chosen(method.defaults) if method.calibrated else method.defaults
        _require_served(method, settings, asked)
        original = hf_folder.inspect(folder, asked)
        require_fitting(original, method, settings, asked)
        python = environment.python(asked)
        require_memory(_LIBRARIES_BYTES + model.parameters * 6, asked)
        require_disk(workdir, model.parameters * 8, asked)
        return _built(method, settings, model, original, python, workdir, asked)

    return build


def _built(
    method: Method,
    settings: Settings,
    model: ModelSource,
    original: Any,
    python: Path,
    work: Path,
    asked: str,
) -> Path:
    from quantswarm.models.quantize import child
    from quantswarm.models.store import home

    began = time.monotonic()
    plan: dict[str, Any] = {
        "method": method.name,
        "model": str(model.folder),
        "out": str(work / "raw"),
        "group_size": settings.group_size,
        "symmetric": settings.symmetric,
        "tokens": settings.tokens,
    }
    facts: dict[str, Any] = {"method": method.name, "settings": None, "calibration": None}
    if method.grouped:
        facts["group_size"], facts["symmetric"] = settings.group_size, settings.symmetric
    if method.calibrated:
        drawn = _calibration(model, settings, asked)
        plan["rows"] = drawn.rows
        facts["settings"] = settings.facts()
        facts["calibration"] = {"origin": drawn.origin, "sha256": drawn.sha256}
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{model.name}-{method.name}").strip("-.")
    facts["versions"] = child.quantize(
        python,
        plan,
        work,
        log=home() / "quantizers" / "logs" / f"{slug}.log",
        asked=asked,
        layers=int(original.config.get("num_hidden_layers", 0)),
    )["versions"]
    facts["took_s"] = round(time.monotonic() - began, 1)
    return _finished(method, settings, original, work, facts)


def _calibration(model: ModelSource, settings: Settings, asked: str) -> Any:
    from quantswarm.models.quantize import calibration

    if model.tokenizer is None or not model.tokenizer.is_file():
        raise UnsupportedPair(
            asked,
            "the model has no tokenizer.json, and calibration text has to become tokens",
            next_step="put tokenizer.json beside its weights",
        )
    return calibration.rows(model.tokenizer, settings, asked)


def _finished(
    method: Method, settings: Settings, original: Any, work: Path, facts: dict[str, Any]
) -> Path:
    """The checkpoint in its final form, read back and checked; the library's own is removed."""
    from quantswarm.models import hf_folder
    from quantswarm.models.quantize import check, finish
    from quantswarm.models.quantize.tensors import Checkpoint

    raw = hf_folder.inspect(work / "raw", f"what the library made as {method.name}")
    made, before = Checkpoint(raw), Checkpoint(original)
    config = raw.config["quantization_config"]
    tensors = finish.awq(made, before) if method.name == "awq" else finish.as_made(made, before)
    if method.name == "awq":
        config = finish.awq_config(settings.group_size)
    elif method.name == "gptq":
        config = finish.gptq_config(config)
    out = work / "model"
    finish.checkpoint(out, original, tensors, config)
    facts["layers"] = check.layers(
        Checkpoint(hf_folder.inspect(out, method.name)),
        before,
        method.name,
        group_size=settings.group_size,
        symmetric=settings.symmetric,
    )
    text = json.dumps(facts, indent=1) + "\n"
    (out / finish.PROVENANCE).write_text(text, encoding="utf-8")
    shutil.rmtree(work / "raw")
    return out


def _require_served(method: Method, settings: Settings, asked: str) -> None:
    """No minutes of work for weights that nothing here can load."""
    if method.name == "gptq" and not settings.symmetric:
        from quantswarm.models.quantize.settings import VARIABLE

        raise UnsupportedPair(
            asked,
            "vLLM loads no GPTQ weights with zero points",
            evidence=f"{VARIABLE} says symmetric=no. Choices: gptq with symmetric=yes; awq.",
            next_step=f"take symmetric=no out of {VARIABLE}, or --quant awq",
        )


def require_fitting(original: Any, method: Method, settings: Settings, asked: str) -> None:
    """Groups that divide every matrix, before minutes of work."""
    from quantswarm.models.quantize.check import linear_layers
    from quantswarm.models.quantize.settings import VARIABLE
    from quantswarm.models.quantize.tensors import Checkpoint

    before = Checkpoint(original)
    layers = linear_layers(before)
    if not layers:
        raise UnsupportedPair(
            asked,
            "no matrices were found under names like model.layers.0.…",
            next_step="choose bf16, or a model of the usual form",
        )
    if not method.grouped:
        return
    for name in layers:
        outputs, inputs = before.entries[f"{name}.weight"].shape
        if inputs % settings.group_size or outputs % 8:
            raise UnsupportedPair(
                asked,
                f"{name} has {inputs} inputs and {outputs} outputs: groups of"
                f" {settings.group_size} do not divide the inputs, or eight not the outputs",
                next_step=f"a smaller group, {VARIABLE}='group_size=32', or int8, which has none",
            )
