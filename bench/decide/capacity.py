"""Capacity under the objectives: the highest load whose cell still met them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from quantswarm.bench.decide.option import Source
from quantswarm.bench.judge.gates import KEPT_UP
from quantswarm.bench.slo import Slo

USERS, RATE = "users", "req/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A load, and whether the objectives were met there."""

    load: float
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """`most` is the highest load that met the objectives, None where none did; `fails_at` the
    lowest that did not, None where all did ("at least"). `searched` says that a search for
    saturation found it. A closed loop's share says nothing about a load that is offered."""

    variant: str
    model: str
    unit: str
    objectives: str
    most: float | None
    fails_at: float | None
    searched: bool = False

    def as_json(self) -> dict[str, Any]:
        """The form that summaries store."""
        return {**asdict(self), "sentence": self.sentence}

    @property
    def sentence(self) -> str:
        """For people."""
        if self.most is None:
            return f"{self.variant}: under {_load(self.fails_at, self.unit)}, the least measured."
        most = _load(self.most, self.unit)
        if self.fails_at is None:
            return f"{self.variant}: at least {most}, the most measured."
        fails = _load(self.fails_at, self.unit)
        if self.fails_at < self.most:
            return f"{self.variant}: met at {most}, though not at {fails}: not a clear limit."
        return f"{self.variant}: {most}; no longer at {fails}."


def capacity(trials: Iterable[Trial]) -> tuple[float | None, float | None]:
    """(the highest load met, the lowest not met), each None where there is none."""
    found = list(trials)
    most = max((trial.load for trial in found if trial.met), default=None)
    return most, min((trial.load for trial in found if not trial.met), default=None)


def capacities(sources: Iterable[Source]) -> list[Capacity]:
    """One a variant, kind of load and set of objectives; nothing where nothing was promised.

    Counts of all rounds are added. A cell that is invalid for another reason than a server that
    fell behind tells nothing.
    """
    groups: dict[tuple[str, str, str, str], dict[float, list[Source]]] = {}
    for source in sources:
        place = _place(source)
        if place is not None:
            key, load = place
            groups.setdefault(key, {}).setdefault(load, []).append(source)
    return [_capacity(key, loads) for key, loads in groups.items()]


def _place(source: Source) -> tuple[tuple[str, str, str, str], float] | None:
    cell = source.cell
    behind = cell.get("failed_gates") == [KEPT_UP]
    if not cell.get("slo") or (cell["status"] != "ok" and not behind):
        return None
    rate = (cell.get("arrivals") or {}).get("rate")
    if rate is None and not cell["users"]:
        return None
    unit, load = (RATE, float(rate)) if rate else (USERS, float(cell["users"]))
    return (source.variant, str(cell["model"]), unit, str(Slo(**cell["slo"]["slo"]))), load


def _capacity(key: tuple[str, str, str, str], loads: Mapping[float, Sequence[Source]]) -> Capacity:
    variant, model, unit, objectives = key
    most, fails_at = capacity(Trial(load=load, met=_met(mine)) for load, mine in loads.items())
    searches = (source.saturation for mine in loads.values() for source in mine)
    saturation = next((found for found in searches if found), None)
    if saturation:
        told = saturation["conclusion"]
        most, fails_at = told["rate"], told["fails_at"]
    return Capacity(
        variant=variant,
        model=model,
        unit=unit,
        objectives=objectives,
        most=most,
        fails_at=fails_at,
        searched=bool(saturation),
    )


def _met(found: Sequence[Source]) -> bool:
    """A server that fell behind met nothing, whatever the requests say that it did answer."""
    told = [source.cell["slo"] for source in found]
    kept_up = all(source.cell["status"] == "ok" for source in found)
    met, begun = sum(slo["met"] for slo in told), sum(slo["begun"] for slo in told)
    return kept_up and met >= told[0]["slo"]["share"] * begun > 0


def _load(value: float | None, unit: str) -> str:
    words = unit[:-1] if unit == USERS and value == 1 else unit
    return "any load" if value is None else f"{value:g} {words}"
