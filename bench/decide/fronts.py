"""The Pareto front of each load: throughput, memory and quality, with who dominates whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.compare.measure import Load
from quantswarm.bench.compare.ratio import BETTER
from quantswarm.bench.decide.case import Case
from quantswarm.bench.decide.option import Option, differs
from quantswarm.bench.decide.pareto import Dominated, Point, front_of
from quantswarm.bench.decide.quantities import QUANTITIES

SPEED, GPU_MEMORY, MEMORY = "output_tok_s", "gpu_memory_gb", "memory_gb"
QUALITY = ("perplexity_increase_percent", "kl_mean")


def fronts(case: Case) -> list[dict[str, Any]]:
    """One a load with two options or more. Options that lack one of the numbers are left out by
    name; cells that are not sound never come here."""
    found = [_front(case, load) for load in case.loads]
    return [front for front in found if front is not None]


def axes_of(options: Sequence[Option]) -> tuple[str, ...]:
    """Throughput, then memory (of the GPUs where all know it), then quality where anyone has it."""

    def anyone(name: str) -> bool:
        return any(option.value(name) is not None for option in options)

    on_gpu = all(option.value(GPU_MEMORY) is not None for option in options)
    quality = next((name for name in QUALITY if anyone(name)), None)
    return (SPEED, GPU_MEMORY if on_gpu else MEMORY, *([quality] if quality else []))


def _front(case: Case, load: Load) -> dict[str, Any] | None:
    options = case.at(load)
    if len(options) < 2:
        return None
    axes = axes_of(options)
    known = [one for one in options if all(one.value(name) is not None for name in axes)]
    by_name = {one.variant: one for one in known}
    found = front_of([_point(one, axes) for one in known])
    return {
        "model": options[0].model,
        "load": load.words,
        "axes": list(axes),
        "on": list(found.on),
        "barely": _barely(case, [by_name[name] for name in found.on], axes),
        "dominated": [_dominated(case, lost, axes, by_name) for lost in found.dominated],
        "left_out": [
            {"variant": one.variant, "why": _lacks(one, axes)}
            for one in options
            if one not in known
        ],
    }


def _barely(case: Case, on: Sequence[Option], axes: Sequence[str]) -> list[dict[str, str]]:
    """Who is on the front only by leads inside the noise: another is clearly better in
    something, and it is clearly better than that one in nothing."""

    def clearly(one: Option, other: Option) -> bool:
        return any(differs(case.field, one, other, name) == BETTER for name in axes)

    found = {}
    for one in on:
        better = (other for other in on if clearly(other, one) and not clearly(one, other))
        other = next(better, None)
        if other is not None:
            found[one.variant] = other.variant
    return [{"variant": name, "by": by} for name, by in found.items()]


def _point(option: Option, axes: Sequence[str]) -> Point:
    return Point(name=option.variant, scores=tuple(_score(option, name) for name in axes))


def _score(option: Option, name: str) -> float:
    value = option.value(name)
    assert value is not None, "options without a number are left out before"
    return value if QUANTITIES[name].larger_is_better else -value


def _dominated(
    case: Case, lost: Dominated, axes: Sequence[str], by_name: Mapping[str, Option]
) -> dict[str, Any]:
    """`clear` where at least one lead is beyond the noise."""
    winner, loser = by_name[lost.by], by_name[lost.name]
    names = [axes[place] for place in lost.where]
    verdicts = {name: differs(case.field, winner, loser, name) for name in names}
    return {
        "variant": lost.name,
        "by": lost.by,
        "leads": verdicts,
        "clear": BETTER in verdicts.values(),
        "sentence": _sentence(winner, loser, verdicts),
    }


def _sentence(winner: Option, loser: Option, verdicts: Mapping[str, str]) -> str:
    leads = [
        f"{QUANTITIES[name].title} {amount(winner, name)} against {amount(loser, name)}"
        f"{'' if verdict == BETTER else f' ({verdict})'}"
        for name, verdict in verdicts.items()
    ]
    clear = BETTER in verdicts.values()
    told = "is dominated by" if clear else "is not clearly worse than, but nowhere above,"
    return f"{loser.variant} {told} {winner.variant}: {', '.join(leads)}."


def amount(option: Option, name: str) -> str:
    """A value with its unit."""
    value, unit = option.value(name), QUANTITIES[name].unit
    if value is None:
        return "n/a"
    if unit == "%":
        return f"{round(value, 2) + 0.0:+.2f}%"  # adding 0 turns a negative nought into a plain one
    gap = " " if unit else ""
    return f"{value:.4g}{gap}{unit}"


def _lacks(option: Option, axes: Sequence[str]) -> str:
    lacking = [name for name in axes if option.value(name) is None]
    return "; ".join(f"{QUANTITIES[name].title}: {option.missing[name]}" for name in lacking)
