"""Engines found by folder discovery, and the one place where engine and recipe are matched."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

import quantswarm.engines
from quantswarm.engines.base import Engine
from quantswarm.models.errors import UnknownName, UnsupportedPair
from quantswarm.models.recipes import Recipe


@cache
def engines() -> Mapping[str, Engine]:
    """Every module of this folder that defines `ENGINE`, by the engine's name."""
    found: dict[str, Engine] = {}
    for module in pkgutil.iter_modules(quantswarm.engines.__path__):
        loaded = importlib.import_module(f"quantswarm.engines.{module.name}")
        engine = getattr(loaded, "ENGINE", None)
        if isinstance(engine, Engine):
            found[engine.name] = engine
    return dict(sorted(found.items()))


def engine_named(name: str) -> Engine:
    """The engine of that name; `UnknownName` with near misses otherwise."""
    known = engines()
    if name in known:
        return known[name]
    raise UnknownName("engine", name, known, next_step="quantswarm engines lists them all")


def loads(engine: Engine, recipe: Recipe) -> bool:
    """Whether the engine serves this recipe: it loads the format and, where engines must be told
    how to serve it, it is one of those that are."""
    told = {*recipe.serve_flags, *recipe.serve_options}
    return recipe.format in engine.formats and (not told or engine.name in told)


def refusal(engine: Engine, recipe: Recipe) -> str:
    """Why the engine does not serve this recipe; only where `loads` says so."""
    if recipe.format in engine.formats:
        return f"{engine.name} has no way to serve it"
    return f"{engine.name} does not load {recipe.format} weights"


def flags_for(engine: Engine, recipe: Recipe) -> tuple[str, ...]:
    """Arguments that load this recipe's weights; `UnsupportedPair` names the engines that can."""
    if loads(engine, recipe):
        return (*engine.formats[recipe.format], *recipe.serve_flags.get(engine.name, ()))
    able = [other.name for other in engines().values() if loads(other, recipe)]
    why = engine.unloadable.get(recipe.format, "")
    raise UnsupportedPair(
        f"quantization {recipe.name!r} on engine {engine.name!r}",
        refusal(engine, recipe),
        evidence=f"{why} Engines that can: {', '.join(able) or 'none'}.".lstrip(),
        next_step=f"choose one of them, or a quantization of {engine.name}: quantswarm quants",
    )


def require_device(recipe: Recipe | None, device: str) -> None:
    """`UnsupportedPair` where this recipe's weights cannot be computed with on that device."""
    if recipe is None or device in recipe.devices:
        return
    places = {"cpu": "a CPU", "cuda": "an NVIDIA GPU"}
    needs = " or ".join(places[place] for place in recipe.devices)
    raise UnsupportedPair(
        f"quantization {recipe.name!r} on {places.get(device, device)}",
        f"{recipe.summary}: it needs {needs}",
        evidence="quantswarm doctor tells what this machine has.",
        next_step="another machine, or a quantization for this one: quantswarm quants",
    )
