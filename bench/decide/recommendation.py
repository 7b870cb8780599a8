"""Which variant to run: the one that leads among those that keep the limits, and why not others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.compare.measure import Load
from quantswarm.bench.compare.ratio import BETTER, SAME, UNKNOWN
from quantswarm.bench.decide.case import Case
from quantswarm.bench.decide.constraint import Constraint
from quantswarm.bench.decide.fronts import amount, fronts
from quantswarm.bench.decide.not_measured import not_measured
from quantswarm.bench.decide.option import Option, differs
from quantswarm.bench.decide.quantities import QUANTITIES
from quantswarm.bench.decide.ranking import Ranked, ranked
from quantswarm.bench.decide.use_case import FEWEST, UseCase
from quantswarm.bench.decide.verdict import Verdict, verdicts
from quantswarm.models.errors import UserMistake

_FIGURES = (
    *("output_tok_s", "ttft_p50_ms", "ttft_p95_ms", "tpot_p50_ms", "memory_gb", "weights_gb"),
    *("perplexity_increase_percent", "kl_mean", "cost_per_million", "tokens_per_joule"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked. `users` None leaves the load to the use case."""

    use_case: UseCase
    constraints: tuple[Constraint, ...] = ()
    users: int | None = None


def recommendation(case: Case, question: Question) -> dict[str, Any]:
    """The answer as one document. `recommended` is None where nothing qualifies; its keys stay.

    Raises `UserMistake` for more users than were measured.
    """
    load, note = _load(case, question)
    options = case.at(load)
    failing = {option.variant: _failing(option, question) for option in options}
    fit = [option for option in options if not failing[option.variant]]
    order = ranked(case.field, fit, question.use_case.goals)
    best = order.order[0] if order.order else None
    runner = order.order[1] if len(order.order) > 1 else None
    return {
        "use_case": question.use_case.name,
        "optimises": question.use_case.words,
        "goals": list(question.use_case.goals),
        "limits": [str(limit) for limit in question.use_case.limits],
        "constraints": [str(limit) for limit in question.constraints],
        "load": load.words,
        "note": note,
        "recommended": _told(best) if best else None,
        "tied": [option.variant for option in order.tied],
        "reason": _reason(case, order, question) if best else None,
        "runner_up": _told(runner) if runner else None,
        "others": _others(case, load, order, failing, question.use_case.goals),
        "not_measured": not_measured(case, load, question.use_case, question.constraints),
        "price": case.price.words if case.price else None,
    }


def nothing_valid(question: Question, left_out: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """The same document where no cell of any run is valid; `left_out` are (run, cell, why)."""
    return {
        "use_case": question.use_case.name,
        "optimises": question.use_case.words,
        "goals": list(question.use_case.goals),
        "limits": [str(limit) for limit in question.use_case.limits],
        "constraints": [str(limit) for limit in question.constraints],
        "load": None,
        "note": "no cell is valid",
        "recommended": None,
        "tied": [],
        "reason": None,
        "runner_up": None,
        "others": [
            {"variant": cell, "kind": "invalid", "why": f"{run}: {why}"}
            for run, cell, why in left_out
        ],
        "not_measured": ["Nothing was measured validly."],
        "price": None,
    }


def _load(case: Case, question: Question) -> tuple[Load, str | None]:
    """The load to decide at, and what is to be said of its choice."""
    closed = [load for load in case.loads if not load.offered]
    if question.users is None:
        loads = closed or list(case.loads)
        load = loads[0] if question.use_case.load == FEWEST else loads[-1]
        return load, f"decided at {load.words}, {question.use_case.load}; --users asks for another"
    enough = [load for load in closed if load.users >= question.users]
    if not enough:
        known = ", ".join(str(load.users) for load in closed) or "none in a closed loop"
        raise UserMistake(
            f"--users {question.users}",
            "no valid cell has so many users",
            evidence=f"Measured: {known}.",
            next_step="measure that many (users in the matrix), or ask for fewer",
        )
    load = min(enough, key=lambda one: one.users)
    if load.users == question.users:
        return load, None
    return load, f"{question.users} users were not measured; decided at {load.words}, the next more"


def _failing(option: Option, question: Question) -> list[Verdict]:
    """A use case's limit excludes only by a known value; a constraint that was asked for must be
    known to hold."""
    own = [
        found
        for found in verdicts(option, question.use_case.limits)
        if found.value is not None and not found.holds
    ]
    return own + [found for found in verdicts(option, question.constraints) if not found.holds]


def _told(option: Option) -> dict[str, Any]:
    return {
        "variant": option.variant,
        "engine": option.engine,
        "quant": option.quant,
        "model": option.model,
        "kernel": option.kernel,
        "cells": list(option.cells),
        "values": {name: option.value(name) for name in _FIGURES},
        "quality": option.loss.verdict if option.loss else None,
    }


def _reason(case: Case, order: Ranked, question: Question) -> str:
    """The numbers that decided, against the runner-up and the baseline."""
    best, *rest = order.order
    goal = order.by or question.use_case.goals[0]
    if best.value(goal) is None:
        goal = "output_tok_s"
    text = f"{QUANTITIES[goal].title} {amount(best, goal)}"
    if order.tied:
        names = ", ".join(one.variant for one in order.tied)
        text += f"; no difference from {names} in what is optimised: a tie"
        rest = [one for one in rest if one not in order.tied]
    if rest:
        text += f"; next {rest[0].variant}, {_against(case, best, rest[0], goal)}"
    base = case.find(case.baseline, best.load)
    if base is not None and base is not best and base not in rest[:1]:
        text += f"; baseline {base.variant}, output {_against(case, best, base, 'output_tok_s')}"
    return f"{text}. {_quality(best)}"


def _against(case: Case, best: Option, other: Option, goal: str) -> str:
    """The other's value, the best one's lead over it, and whether that is more than noise."""
    mine, its = best.value(goal), other.value(goal)
    if mine is None or its is None:
        return f"{QUANTITIES[goal].title} n/a"
    verdict = differs(case.field, best, other, goal)
    doubt = {SAME: f", {SAME}", UNKNOWN: ", noise not known"}.get(verdict, "")
    if QUANTITIES[goal].unit == "%":
        side = "lower" if mine < its else "higher"
        return f"{amount(other, goal)} (the first is {abs(mine - its):.2f} points {side}{doubt})"
    times = f"{mine / its:.2f}×" if its else "n/a ×"
    return f"{amount(other, goal)} (the first has {times} that{doubt})"


def _quality(option: Option) -> str:
    loss = option.loss
    if loss is None or loss.increase_percent is None:
        return "What it loses in quality was not measured."
    interval = ""
    if loss.low_percent is not None and loss.high_percent is not None:
        interval = f", 95 % interval {loss.low_percent:+.2f} to {loss.high_percent:+.2f} %"
    return (
        f"Perplexity {loss.increase_percent:+.2f}% against {loss.reference or 'its reference'}"
        f"{interval}: {loss.verdict}."
    )


def _others(
    case: Case,
    load: Load,
    order: Ranked,
    failing: dict[str, list[Verdict]],
    goals: Sequence[str],
) -> list[dict[str, str]]:
    """Every variant that is not recommended: what kind of reason, and the reason."""
    front = next((one for one in fronts(case) if one["load"] == load.words), None)
    beaten = {lost["variant"]: lost for lost in (front or {}).get("dominated", ()) if lost["clear"]}
    found = [
        {
            "variant": name,
            "kind": "constraint",
            "why": "; ".join(verdict.words for verdict in missed),
        }
        for name, missed in failing.items()
        if missed
    ]
    found += [_outranked(case, order, option, beaten, goals) for option in order.order[1:]]
    return found + _excluded(case, load, {entry["variant"] for entry in found})


def _outranked(
    case: Case, order: Ranked, option: Option, beaten: dict[str, Any], goals: Sequence[str]
) -> dict[str, str]:
    best = order.order[0]
    if option in order.tied:
        return {"variant": option.variant, "kind": "tie", "why": "no difference from the first"}
    if option.variant in beaten:
        return {
            "variant": option.variant,
            "kind": "dominated",
            "why": beaten[option.variant]["sentence"],
        }
    better = (one for one in goals if differs(case.field, best, option, one) == BETTER)
    goal = next(better, order.by or "output_tok_s")
    why = f"{QUANTITIES[goal].title} {_against(case, best, option, goal)}"
    return {"variant": option.variant, "kind": "behind", "why": why}


def _excluded(case: Case, load: Load, known: set[str]) -> list[dict[str, str]]:
    """Variants without a valid cell under this load."""
    have = {option.variant for option in case.at(load)} | known
    found = {}
    for source, why in case.left_out():
        cell = source.cell
        same = cell["users"] == load.users and bool(cell.get("arrivals")) == bool(load.offered)
        if source.variant not in have and same:
            found[source.variant] = {
                "variant": source.variant,
                "kind": str(cell["status"]) if cell["status"] != "ok" else "failures",
                "why": f"{cell['cell']} {why}",
            }
    return list(found.values())
