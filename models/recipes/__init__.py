"""One file a quantization. Each defines `RECIPE`; discovery by folder makes a new file enough."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import UnknownName


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a quantization is made, and how each engine is told about it.

    `build(model, workdir)` writes into `workdir` and returns the file or folder to serve; it may
    return a path outside `workdir` (the model's own folder) when nothing has to be made. The store
    seals what it returns. `serve_flags` maps an engine's name to extra arguments, `serve_options`
    to engine options (`--option`), over which the user's own prevail; where either names engines,
    only those serve it, else all that load the format. `requires` names what
    `build` needs beyond Python packages (`llama-quantize`, say). `variant` tells what the user may
    change about the weights: other settings are another artefact. `devices` can serve them.
    `weights` names the recipe whose artefact is served where only serving differs (the type of the
    key-value cache, say).
    """

    name: str
    format: str
    summary: str
    build: Callable[[ModelSource, Path], Path]
    serve_flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    serve_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    variant: Callable[[], Mapping[str, Any]] | None = None
    devices: tuple[str, ...] = ("cpu", "cuda")
    weights: str | None = None
    aliases: tuple[str, ...] = ()


@cache
def recipes() -> Mapping[str, Recipe]:
    """Every recipe in this folder, by name; aliases are not listed."""
    found: dict[str, Recipe] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            recipe: Recipe = importlib.import_module(f"{__name__}.{module.name}").RECIPE
            found[recipe.name] = recipe
    return dict(sorted(found.items()))


def recipe_named(name: str) -> Recipe:
    """The recipe of that name or alias; `UnknownName` with near misses otherwise."""
    known = recipes()
    by_alias = {alias: recipe for recipe in known.values() for alias in recipe.aliases}
    if name in known:
        return known[name]
    if name in by_alias:
        return by_alias[name]
    raise UnknownName(
        "quantization", name, [*known, *by_alias], next_step="quantswarm quants lists them all"
    )
