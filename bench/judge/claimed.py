"""Claims of written sources against a run: the same ratio, measured here, and what it says.

The effect of a ratio r is log r, counted in the claim's direction. Reproduced: within 10 % of what
is reported, or not told apart from it by the comparison's 95 % interval, unless that is so wide
that it settles nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quantswarm.bench.compare.entries import sound, variant_of
from quantswarm.bench.compare.field import Field
from quantswarm.bench.compare.measure import MEASURES, Load
from quantswarm.bench.compare.ratio import Ratio
from quantswarm.bench.decide.quantities import QUANTITIES, Evidence, Quantity
from quantswarm.bench.judge.quality_files import Documents, quality_name

REPRODUCED, SMALLER, LARGER = "reproduced", "smaller", "larger"
NOT_SETTLED, NOT_MEASURED = "not settled", "not measured"
TOLERANCE = math.log(1.1)
WIDEST = 2.0
"""An interval whose ends are further apart than this factor does not show that ratios agree."""

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a run knows of a claim: a ratio with its interval, if there is one, and both values.
    `reason` says why there is no ratio, or why it settles nothing."""

    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    value: float | None = None
    base: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A judged run: its cells, the comparison's field, quality documents, and who was left out."""

    cells: Sequence[Entry]
    field: Field
    quality: Documents
    left_out: Sequence[Entry]


def claims_as_json(matrix: Entry | None, known: Known) -> list[dict[str, Any]]:
    """Every claim of the run's matrix with what this run shows; empty where there are none."""
    return [_judged(claim, known) for claim in (matrix or {}).get("claims") or ()]


def _judged(claim: Entry, known: Known) -> dict[str, Any]:
    quantity = QUANTITIES.get(claim["metric"])
    if quantity is None:
        found = Found(reason=f"this version knows no metric {claim['metric']}")
    else:
        found = _settling(claim, _found(claim, quantity, known))
    near = _nearest(claim, found.ratio)
    kind = verdict(claim, found)
    return {
        **claim,
        "title": quantity.title if quantity else claim["metric"],
        "unit": quantity.unit if quantity else "",
        "ours": found.ratio,
        "low": found.low,
        "high": found.high,
        "variant_value": found.value,
        "baseline_value": found.base,
        "ratio_of_ratios": None if found.ratio is None else found.ratio / near,
        "verdict": kind,
        "reason": found.reason or None,
        "sentence": _sentence(claim, quantity, found, kind),
    }


def verdict(claim: Entry, found: Found) -> str:
    """By the effect: one that is weaker than reported is smaller, whichever way the ratio goes."""
    if found.ratio is None or found.reason:
        return NOT_MEASURED if found.ratio is None else NOT_SETTLED
    beyond = math.log(found.ratio / _nearest(claim, found.ratio))
    if abs(beyond) <= TOLERANCE or _holds_theirs(claim, found):
        return REPRODUCED
    return SMALLER if beyond * math.log(_nearest(claim, found.ratio)) < 0 else LARGER


def _holds_theirs(claim: Entry, found: Found) -> bool:
    """Whether what is reported lies in the interval of ours."""
    least, most = _ends(claim)
    if found.low is None or found.high is None:
        return False
    return found.low <= most and found.high >= least


def _settling(claim: Entry, found: Found) -> Found:
    """An interval that holds what is reported and much besides says so, and settles nothing."""
    if found.low is None or found.high is None or found.high / found.low <= WIDEST:
        return found
    if not _holds_theirs(claim, found):
        return found
    reason = "the interval is too wide to settle it"
    return replace(found, reason=reason)


def _ends(claim: Entry) -> tuple[float, float]:
    least = float(claim["theirs"])
    return least, float(claim.get("theirs_most") or least)


def _nearest(claim: Entry, ratio: float | None) -> float:
    """The reported number that is nearest: within a range, the ratio itself."""
    least, most = _ends(claim)
    return least if ratio is None else min(max(ratio, least), most)


def _found(claim: Entry, quantity: Quantity, known: Known) -> Found:
    names = (claim["variant"], claim["baseline"])
    missing = [why for why in (_absence(claim, name, known) for name in names) if why]
    if missing:
        return Found(reason="; ".join(missing))
    both = [_evidence(claim, name, known) for name in names]
    value, base = (quantity.of(evidence) for evidence in both)
    for name, number, evidence in zip(names, (value, base), both, strict=True):
        if number is None or number <= 0:
            why = quantity.missing(evidence) if number is None else "it is 0"
            return Found(reason=f"{quantity.title} of {name} is not known: {why}")
    assert value is not None
    assert base is not None
    paired = _paired(claim, quantity, known.field)
    if paired is None:
        return Found(ratio=value / base, value=value, base=base)
    return Found(ratio=paired.value, low=paired.low, high=paired.high, value=value, base=base)


def _paired(claim: Entry, quantity: Quantity, field: Field) -> Ratio | None:
    """The comparison's own ratio, paired by round, where the metric is one that it knows."""
    measure = next((m for m in MEASURES if m.key == quantity.measure), None)
    if measure is None:
        return None
    load = Load(model=claim["model"], users=claim["users"])
    return field.ratio(claim["variant"], claim["baseline"], load, measure)


def _mine(claim: Entry, name: str, known: Known) -> list[Entry]:
    return [
        cell
        for cell in known.cells
        if variant_of(cell) == name
        and (cell["model"], cell["users"]) == (claim["model"], claim["users"])
        and not cell.get("arrivals")
    ]


def _evidence(claim: Entry, name: str, known: Known) -> Evidence:
    cells = [cell for cell in _mine(claim, name, known) if sound(cell)]
    document = quality_name(known.quality, cells[0])
    return Evidence(cells=cells, quality=known.quality[document] if document else None)


def _absence(claim: Entry, name: str, known: Known) -> str:
    """Why a variant has no number under the claim's load; empty where it has one."""
    for entry in known.left_out:
        if entry["variant"] == name and entry.get("model") in (None, claim["model"]):
            return f"{name} {entry['reason']}"
    cells = _mine(claim, name, known)
    if not cells:
        return f"{name} has no cell at {_users(claim)} in this run"
    if any(sound(cell) for cell in cells):
        return ""
    told = next((str(cell["reason"]) for cell in cells if cell.get("reason")), "")
    if told:
        return f"{name} {cells[0]['status']}: {told.splitlines()[0]}"
    return f"{name}: too many of its requests failed"


def _users(claim: Entry) -> str:
    count = claim["users"]
    return f"{count} user{'' if count == 1 else 's'}"


def times(ratio: float) -> str:
    """A ratio for people: 1.14×, 0.27×, 23×."""
    return f"{ratio:.0f}×" if ratio >= 10 and ratio == round(ratio) else f"{ratio:.2f}×"


def theirs_text(claim: Entry) -> str:
    """What is reported: a ratio, or a range."""
    least, most = _ends(claim)
    return times(least) if least == most else f"{times(least)} to {times(most)}"


def _sentence(claim: Entry, quantity: Quantity | None, found: Found, kind: str) -> str:
    if found.ratio is None or quantity is None:
        return f"Not measured: {found.reason}."
    least, most = _ends(claim)
    wide = "" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})"
    other = (found.ratio < 1 < least) or (found.ratio > 1 > most)
    return (
        f"{kind.capitalize()}{', and the other way' if other else ''}: {quantity.title} of"
        f" {claim['variant']} is {times(found.ratio)}{wide} that of {claim['baseline']} at"
        f" {_users(claim)}, where {theirs_text(claim)} is reported"
        f"{f': {found.reason}' if found.reason else ''}."
    )
