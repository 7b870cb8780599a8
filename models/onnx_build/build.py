"""The recipes of format `onnx`: refusals first, then the library's work, then the check."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import BuildFailed, NotAvailable, UnsupportedPair
from quantswarm.models.quantize.settings import Settings, chosen
from quantswarm.models.recipes import Recipe
from quantswarm.models.space import require_disk, require_memory

DRIVER = ("-u", "-m", "quantswarm.models.onnx_build.driver")
PROVENANCE = "quantization.json"
BLOCKS = Settings(group_size=32)
"""The builder's own default."""
LARGEST: Mapping[str, float] = {"fp32": 1e-4, "dynamic": 0.25, "int8": 0.1, "int4": 0.9}
"""Relative error of the logits beside the float32 original; other weights have about 1.4.
Seen: docs/onnxruntime.md; random weights, as synthetic models have, lose most by rounding."""

_WINDOWS, _WINDOW_TOKENS = 4, 64
_LIBRARIES_BYTES = 1 * 2**30
_BYTES_PER_PARAMETER = 17
"""At the highest: the original, its float32 copy, and the graph that is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """`how` is fp32, dynamic (INT8 by onnxruntime.quantization), or int8 or int4 by blocks."""

    name: str
    how: str

    @property
    def by_blocks(self) -> bool:
        """Whether it has a block size."""
        return self.how in ("int8", "int4")


def recipe(name: str, how: str, summary: str) -> Recipe:
    """A recipe whose folder the exporting process makes; for CPUs alone."""
    method = Method(name=name, how=how)
    return Recipe(
        name=name,
        format="onnx",
        summary=summary,
        build=builder(method),
        variant=_block_facts if method.by_blocks else None,
        devices=("cpu",),
    )


def builder(method: Method) -> Callable[[ModelSource, Path], Path]:
    """The `build` of that method."""

    def build(model: ModelSource, workdir: Path) -> Path:
        from quantswarm.models import hf_folder

        asked = f"{method.name} of {model.name}"
        original = hf_folder.inspect(model.original(asked), asked)
        require_architecture(original.config, asked)
        require_memory(_LIBRARIES_BYTES + model.parameters * _BYTES_PER_PARAMETER, asked)
        require_disk(workdir, model.parameters * 9, asked)
        return _built(method, model, original, workdir, asked)

    return build


def require_architecture(config: Mapping[str, Any], asked: str) -> None:
    """`UnsupportedPair` for a model that the installed builder does not know."""
    known = architectures(asked)
    named = config.get("architectures") or ["without a name"]
    if named[0] not in known:
        raise UnsupportedPair(
            asked,
            f"onnxruntime-genai's builder knows no {named[0]}",
            evidence=f"It knows: {', '.join(known)}.",
            next_step="a model of one of these, or another engine: quantswarm engines",
        )


def architectures(asked: str) -> tuple[str, ...]:
    """Those that the builder's own source compares with, without the seconds of importing it."""
    found = importlib.util.find_spec("onnxruntime_genai")
    if found is None or found.origin is None:
        raise NotAvailable(asked, "onnxruntime-genai is not installed", next_step="make setup")
    source = Path(found.origin).with_name("models") / "builder.py"
    text = source.read_text(encoding="utf-8")
    return tuple(dict.fromkeys(re.findall(r'architectures\[0\] == "(\w+)"', text)))


def _block_facts() -> dict[str, Any]:
    settings = chosen(BLOCKS)
    return {"block_size": settings.group_size, "symmetric": settings.symmetric}


def _built(method: Method, model: ModelSource, original: Any, work: Path, asked: str) -> Path:
    from quantswarm.models.quantize import child
    from quantswarm.models.store import home

    began = time.monotonic()
    blocks = _block_facts() if method.by_blocks else {}
    plan = {
        "method": method.how,
        "model": str(model.folder),
        "tokenizer": str(model.tokenizer),
        "out": str(work / "model"),
        "rows": _rows(model, asked),
        **blocks,
    }
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{model.name}-{method.name}").strip("-.")
    result = child.quantize(
        Path(sys.executable),
        plan,
        work,
        log=home() / "quantizers" / "logs" / f"{slug}.log",
        asked=asked,
        layers=int(original.config.get("num_hidden_layers", 0)),
        driver=DRIVER,
    )
    require_right(method.how, result, asked)
    facts = {
        "method": method.name,
        **blocks,
        "versions": result["versions"],
        "check": {"windows": _WINDOWS, "tokens": _WINDOW_TOKENS, **result["check"]},
        "took_s": round(time.monotonic() - began, 1),
    }
    text = json.dumps(facts, indent=1) + "\n"
    (work / "model" / PROVENANCE).write_text(text, encoding="utf-8")
    shutil.rmtree(work / "cache", ignore_errors=True)
    return work / "model"


def require_right(how: str, result: Mapping[str, Any], asked: str) -> None:
    """`BuildFailed` where what was made computes something else, or cuts text otherwise."""
    error = result["check"]["relative_error"]
    if not error <= LARGEST[how]:  # true for NaN as well
        found = f"its logits are {error:.4f} from the original's, {LARGEST[how]:g} is the most"
    elif result["other_ids"]:
        found = f"other token ids than the original's for {result['other_ids']}"
    else:
        return
    raise BuildFailed(
        asked,
        found,
        evidence=f"Made by {', '.join(f'{k} {v}' for k, v in result['versions'].items())}.",
        next_step="serve the model by another engine; report this with these versions",
    )


def _rows(model: ModelSource, asked: str) -> list[list[int]]:
    """Windows of the standard library's sources, which every model's tokenizer can cut."""
    from quantswarm.models.quantize import calibration

    if model.tokenizer is None or not model.tokenizer.is_file():
        raise UnsupportedPair(
            asked,
            "the model has no tokenizer.json, and a server has to cut text into tokens",
            next_step="put tokenizer.json beside its weights",
        )
    settings = Settings(rows=_WINDOWS, tokens=_WINDOW_TOKENS)
    return [list(row) for row in calibration.rows(model.tokenizer, settings, asked).rows]
