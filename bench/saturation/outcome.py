"""From judged cells to trials and an answer: done while searching, and again whenever judged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantswarm.bench.judge.gates import KEPT_UP
from quantswarm.bench.saturation.conclusion import conclude
from quantswarm.bench.saturation.search import Settings, Trial
from quantswarm.models.errors import BadFile

FILE = "saturation.json"
SCHEMA = 1
_OVER = {"unstable", "ended-early"}
"""Warnings that say that the server did not keep up with what was offered."""

Cell = Mapping[str, Any]


def trial_of(cell: Cell) -> Trial:
    """What one cell of a summary says to the search; a failed cell met nothing, and
    one that is invalid only because the server fell behind is what a search looks for."""
    slo = cell.get("slo") or {}
    requests = int(slo.get("begun", cell["requests"]) or 0)
    return Trial(
        rate=cell["arrivals"]["rate"],
        requests=requests,
        misses=requests - slo.get("met", 0),
        unstable=any(warning["name"] in _OVER for warning in cell["warnings"]),
        valid=cell["status"] != "invalid" or cell.get("failed_gates") == [KEPT_UP],
    )


def words(trial: Trial, share: float) -> str:
    """A trial's verdict."""
    if not trial.valid:
        return "invalid"
    if trial.passes(share):
        return "passes"
    return "unstable" if trial.unstable else "misses"


def document(
    settings: Mapping[str, Any], names: Sequence[str], cells: Sequence[Cell], ended: str | None
) -> dict[str, Any]:
    """A search as `saturation.json` and summaries hold it: settings, trials in the order they ran,
    the answer. `ended` says what broke the search off, where something did."""
    known = {cell["cell"]: cell for cell in cells}
    asked = Settings(**settings)
    trials = {name: trial_of(known[name]) for name in names if name in known}
    return {
        "schema": SCHEMA,
        "settings": dict(settings),
        "trials": [
            {
                "cell": name,
                "rate": trial.rate,
                "requests": trial.requests,
                "misses": trial.misses,
                "verdict": words(trial, asked.share),
            }
            for name, trial in trials.items()
        ],
        "conclusion": conclude(list(trials.values()), asked).as_json(),
        "ended": ended,
    }


def judged_again(run: Path, cells: Sequence[Cell]) -> dict[str, Any] | None:
    """The search stored in a run directory, from its cells as they are judged now; None where the
    run was none. Raises BadFile."""
    path = run / FILE
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        names = [trial["cell"] for trial in stored["trials"]]
        return document(stored["settings"], names, cells, stored["ended"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(
            str(path), f"not a search: {error!r}", next_step="remove it, or search again"
        ) from None
