"""From names on the command line to things: which engine, which recipe, which artefact."""

from __future__ import annotations

from dataclasses import dataclass

from quantswarm.engines.base import Availability, Engine
from quantswarm.engines.registry import engine_named, flags_for, loads, require_device
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import NotAvailable, UnsupportedPair, UserMistake
from quantswarm.models.recipes import Recipe, recipe_named, recipes

NO_QUANT = "none"
"""The quantization of an engine that serves no weights (`scripted`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A pair that can work, and the weights it serves; both None for an engine without weights.

    `found` is what the engine's probe said; None for a dry run, which does not look.
    """

    engine: Engine
    recipe: Recipe | None
    artefact: Artefact | None
    found: Availability | None = None

    @property
    def quant(self) -> str:
        """The recipe's own name, whatever alias was asked for."""
        return self.recipe.name if self.recipe else NO_QUANT

    @property
    def model(self) -> str:
        """The model's name as it was asked for."""
        return self.artefact.model if self.artefact else NO_QUANT


def check_pair(engine_name: str, quant: str | None) -> tuple[Engine, Recipe | None]:
    """Both by name, and able to work together; needs neither weights nor the engine's program."""
    engine = engine_named(engine_name)
    if not engine.formats:
        if quant not in (None, "", NO_QUANT):
            raise UnsupportedPair(
                f"quantization {quant!r} on engine {engine.name!r}",
                f"{engine.name} serves no weights",
                next_step="leave the quantization out",
            )
        return engine, None
    if not quant:
        fitting = [name for name, recipe in recipes().items() if loads(engine, recipe)]
        raise UserMistake(
            f"engine {engine.name!r}",
            "no quantization was given",
            evidence=f"Choices: {', '.join(fitting)}.",
            next_step="--quant NAME, or make serve QUANT=NAME",
        )
    recipe = recipe_named(quant)
    flags_for(engine, recipe)
    return engine, recipe


def check_available(engine: Engine) -> Availability:
    """What the engine's probe found; `NotAvailable` with the cure if it cannot run here."""
    found = engine.probe()
    if not found.available:
        raise NotAvailable(
            f"engine {engine.name!r}",
            found.reason,
            next_step=found.cure or "quantswarm doctor tells what is missing",
        )
    return found


def select(engine_name: str, quant: str | None, model: str) -> Selection:
    """Check the names, then the engine, then build or find the weights: cheap refusals first."""
    from quantswarm.models import store
    from quantswarm.models.source import resolve

    engine, recipe = check_pair(engine_name, quant)
    found = check_available(engine)
    if recipe is None:
        return Selection(engine=engine, recipe=None, artefact=None, found=found)
    require_device(recipe, found.device or "cpu")
    return Selection(
        engine=engine,
        recipe=recipe,
        artefact=store.artefact(resolve(model, quant=recipe.name), recipe),
        found=found,
    )


def select_planned(engine_name: str, quant: str | None, model: str) -> Selection:
    """As `select`, for a dry run: nothing is built, downloaded or looked for."""
    from quantswarm.models import store

    engine, recipe = check_pair(engine_name, quant)
    artefact = store.planned(model, recipe) if recipe else None
    return Selection(engine=engine, recipe=recipe, artefact=artefact)
