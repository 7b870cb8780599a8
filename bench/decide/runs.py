"""Run directories read for a recommendation: one case of all that is valid in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quantswarm.bench.compare.across import Judged, together
from quantswarm.bench.compare.runs import alike, kept_price
from quantswarm.bench.decide.case import case_across
from quantswarm.bench.decide.price import Price
from quantswarm.bench.decide.recommendation import Question, nothing_valid, recommendation
from quantswarm.models.errors import UnknownName, UserMistake


def recommend(
    folders: Sequence[Path],
    question: Question,
    *,
    baseline: str | None = None,
    model: str | None = None,
    anyway: bool = False,
    price: Price | None = None,
) -> dict[str, Any]:
    """The recommendation from these runs, as one document with the runs' names.

    `UserMistake` where the runs differ (unless `anyway`), hold several models of which none is
    named, or fewer users than asked for; `UnknownName` for a baseline or model that none has.
    """
    runs, unlike = alike(folders, anyway=anyway)
    runs = _of_model(runs, model)
    across = together(runs, baseline=baseline)
    case = case_across(runs, across, price or kept_price(folders))
    about = {"runs": [run.name for run in runs], "differences": unlike}
    if case is None:
        return {**about, "baseline": None, **nothing_valid(question, across.left_out)}
    if baseline is not None and across.baseline not in across.field.variants:
        raise UnknownName(
            "baseline", baseline, across.field.variants, next_step="--baseline with one of these"
        )
    return {**about, "baseline": case.baseline, **recommendation(case, question)}


def _of_model(runs: Sequence[Judged], model: str | None) -> list[Judged]:
    """The runs with the cells of one model alone."""
    known = {str(cell["model"]) for run in runs for cell in run.cells}
    if model is None:
        if len(known) > 1:
            raise UserMistake(
                "recommend",
                "the runs hold several models, and a recommendation is for one",
                evidence=f"Choices: {', '.join(sorted(known))}.",
                next_step="--model with one of these",
            )
        return list(runs)
    if model not in known:
        raise UnknownName("model", model, known, next_step="--model with one of these")
    return [
        dataclasses.replace(run, cells=[cell for cell in run.cells if cell["model"] == model])
        for run in runs
    ]
