"""The decision as JSON: what `summary.json` holds of it, and what `compare --json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from quantswarm.bench.decide.beside import rows
from quantswarm.bench.decide.capacity import capacities
from quantswarm.bench.decide.case import Case
from quantswarm.bench.decide.constraint import Constraint
from quantswarm.bench.decide.fronts import fronts
from quantswarm.bench.decide.lead import WHY, explains, leads
from quantswarm.bench.decide.verdict import verdicts


def decision_as_json(case: Case) -> dict[str, Any]:
    """Rows beside the baseline, Pareto fronts, leads over the users, capacity; and what is not
    decided for. Charts are drawn from this."""
    told = leads(case)
    return {
        "baseline": case.baseline,
        "remark": case.remark,
        "price": None if case.price is None else {**asdict(case.price), "words": case.price.words},
        "rows": rows(case),
        "fronts": fronts(case),
        "leads": told,
        "why": WHY if explains(told) else None,
        "capacity": [found.as_json() for found in capacities(case.sources.values())],
        "left_out": [
            {"cell": source.cell["cell"], "variant": source.variant, "why": why}
            for source, why in case.left_out()
        ],
    }


def constrained_as_json(case: Case, constraints: Sequence[Constraint]) -> dict[str, Any]:
    """Which options keep all constraints, and by how much the others miss them."""
    return {
        "asked": [str(constraint) for constraint in constraints],
        "options": [
            {
                "variant": option.variant,
                "model": option.model,
                "load": option.load.words,
                "cells": list(option.cells),
                "meets": all(found.holds for found in verdicts(option, constraints)),
                "constraints": [found.as_json() for found in verdicts(option, constraints)],
            }
            for load in case.loads
            for option in case.at(load)
        ],
    }
