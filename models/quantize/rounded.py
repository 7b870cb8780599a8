"""Checkpoints rounded to nearest by numpy alone: GPTQ's, AWQ's and FP8's bytes without libraries.

For speed: the bytes, layouts and kernels are those of the calibrated methods, whose minutes of
calibration (and 6 bytes of memory a weight) random weights have no use for. Matrices are rounded on
several cores and written in order; no more of them are in memory than cores work.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import BuildFailed
from quantswarm.models.quantize.rounded_layouts import GROUP, Facts, Layout
from quantswarm.models.recipes import Recipe
from quantswarm.models.space import available_memory_bytes, require_disk, require_memory

MOST_THREADS = 8
_AT_WORK_BYTES = 48
"""For each weight of a matrix that is being rounded: float32 several times over."""
_WORST = 0.5
"""Relative error that no rounding to 4 bits has; above it (or NaN) the weights are no numbers."""


def recipe(layout: Layout, summary: str, *, format: str, devices: tuple[str, ...]) -> Recipe:  # noqa: A002 — the field's name
    """A recipe that needs no quantizing library."""
    return Recipe(
        name=f"{layout.method}-nearest",
        format=format,
        summary=summary,
        build=lambda model, workdir: _build(layout, model, workdir),
        devices=devices,
    )


def _build(layout: Layout, model: ModelSource, work: Path) -> Path:
    from quantswarm.models import hf_folder
    from quantswarm.models.quantize import build, finish
    from quantswarm.models.quantize.check import linear_layers
    from quantswarm.models.quantize.tensors import Checkpoint, write

    began = time.monotonic()
    asked = f"{layout.method}-nearest of {model.name}"
    original = hf_folder.inspect(model.original(asked), asked)
    method = build.Method(name=layout.method, calibrated=False, grouped=layout.grouped)
    build.require_fitting(original, method, method.defaults, asked)
    before = Checkpoint(original)
    layers = set(linear_layers(before))
    one_bytes = _AT_WORK_BYTES * max(before.entries[f"{n}.weight"].elements for n in layers)
    require_memory(one_bytes, asked)
    require_disk(work, 2 * model.parameters, asked)
    out = work / "model"
    out.mkdir()
    told: list[dict[str, Any]] = []
    values = _in_order(_jobs(layout, before, layers, told), _threads(one_bytes))
    write(out / "model.safetensors", _facts(layout, before, layers), values)
    told.sort(key=lambda facts: str(facts["layer"]))
    _require_numbers(told, asked)
    finish.beside(out, original, layout.config())
    facts: dict[str, Any] = {"method": f"{layout.method}-nearest", "calibration": None}
    if layout.grouped:
        facts |= {"group_size": GROUP, "symmetric": layout.symmetric}
    facts |= {"took_s": round(time.monotonic() - began, 1), "layers": told}
    (out / finish.PROVENANCE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return out


def _threads(one_bytes: int) -> int:
    """As many as there are cores and as the memory that is free holds, one at least."""
    free = available_memory_bytes()
    fitting = MOST_THREADS if free is None else free // one_bytes
    return max(1, min(MOST_THREADS, len(os.sched_getaffinity(0)), fitting))


def _facts(layout: Layout, before: Any, layers: set[str]) -> dict[str, Facts]:
    """Name, type and shape of every tensor to be written, in the original's order."""
    found: dict[str, Facts] = {}
    for name, entry in before.entries.items():
        layer = name.removesuffix(".weight")
        if layer in layers:
            outputs, inputs = entry.shape
            parts = layout.parts(outputs, inputs)
            found |= {f"{layer}.{part}": facts for part, facts in parts.items()}
        else:
            found[name] = (entry.dtype, entry.shape)
    return found


def _jobs(
    layout: Layout, before: Any, layers: set[str], told: list[dict[str, Any]]
) -> Iterator[Callable[[], list[Any]]]:
    """One for each tensor of the original, in its order; each gives the arrays that take its
    place."""
    for name in before.entries:
        layer = name.removesuffix(".weight")
        if layer in layers:
            yield _rounding(layout, before, layer, told)
        else:
            yield _copying(before, name)


def _copying(before: Any, name: str) -> Callable[[], list[Any]]:
    return lambda: [before.raw(name)]


def _rounding(
    layout: Layout, before: Any, layer: str, told: list[dict[str, Any]]
) -> Callable[[], list[Any]]:
    def work() -> list[Any]:
        from quantswarm.models.quantize.check import relative_error

        weight = before.float32(f"{layer}.weight")
        parts, wide = layout.make(weight)
        error = relative_error(wide, weight)
        told.append({"layer": layer, "shape": list(weight.shape), "relative_error": error})
        return list(parts.values())

    return work


def _in_order(jobs: Iterable[Callable[[], list[Any]]], threads: int) -> Iterator[Any]:
    """What the jobs give, in their order; at most `threads` of them are at work or waited for."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[list[Any]]] = deque()
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) == threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _require_numbers(told: list[dict[str, Any]], asked: str) -> None:
    bad = [facts for facts in told if not facts["relative_error"] <= _WORST]  # NaN as well
    if bad:
        raise BuildFailed(
            asked,
            f"{bad[0]['layer']} is {bad[0]['relative_error']:.3g} of its size off after rounding",
            evidence=f"{len(bad)} of {len(told)} layers are.",
            next_step="look at the original weights: they hold infinities, or are no numbers",
        )
