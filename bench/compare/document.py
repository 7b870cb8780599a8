"""The comparison as JSON: what `summary.json` holds of it, and what `compare --json` prints."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from quantswarm.bench.compare.field import Field
from quantswarm.bench.compare.floor import Floor
from quantswarm.bench.compare.measure import MEASURES, Group, Load, Measure
from quantswarm.bench.compare.ratio import Ratio
from quantswarm.bench.judge.remarks import Remark


def groups_as_json(field: Field) -> list[dict[str, Any]]:
    """Each variant at each load: its value in every round, and their geometric mean."""
    return [_group(group) for group in field.groups]


def comparison_as_json(
    field: Field,
    baseline: str,
    measures: Sequence[Measure] = MEASURES,
    notes: Iterable[Remark] = (),
) -> dict[str, Any]:
    """Floors, and every variant against the baseline; `remarks` say what weakens it."""
    pairs = list(field.against(baseline, measures))
    remarks = [*notes, *_remarks(field, baseline, [found for _, found in pairs])]
    return {
        "baseline": baseline,
        "rounds": field.rounds,
        "confidence": 0.95,
        "floors": [
            {**_load(load), "metric": measure.key, **floor_as_json(floor)}
            for load in field.loads
            for measure in measures
            if (floor := field.floor(load, measure)) is not None
        ],
        "pairs": [{**_load(load), **ratio_as_json(found)} for load, found in pairs],
        "remarks": [remark.as_json() for remark in remarks],
    }


def ratio_as_json(found: Ratio) -> dict[str, Any]:
    """A ratio with its interval, its floor and what is to be thought of it."""
    return {
        "variant": found.variant,
        "baseline": found.baseline,
        "metric": found.measure.key,
        "ratio": found.value,
        "low": found.low,
        "high": found.high,
        "verdict": found.verdict,
        "by_round": {str(number): value for number, value in found.by_round.items()},
        "block_s": found.block_s,
        "floor": None if found.floor is None else floor_as_json(found.floor),
    }


def floor_as_json(floor: Floor) -> dict[str, Any]:
    """`share` 0.03: equals were seen 3 % apart."""
    return {"share": floor.share, "pairs": floor.pairs, "kind": floor.kind}


def _group(group: Group) -> dict[str, Any]:
    return {
        "variant": group.variant,
        **_load(group.load),
        "rounds": [run.round for run in group.runs],
        "cells": [run.cell for run in group.runs],
        "values": {measure.key: _values(group, measure) for measure in MEASURES},
    }


def _values(group: Group, measure: Measure) -> dict[str, Any]:
    known = list(group.known(measure.key).values())
    by_round = {str(run.round): run.values.get(measure.key) for run in group.runs}
    return {"pooled": statistics.geometric_mean(known) if known else None, "by_round": by_round}


def _load(load: Load) -> dict[str, Any]:
    return {"model": load.model, "users": load.users, "load": load.words}


def _remarks(field: Field, baseline: str, ratios: Sequence[Ratio]) -> Iterator[Remark]:
    if field.rounds == 1:
        yield Remark(
            name="one-round",
            seen="everything was measured once; intervals hold only what varied inside a window, "
            "and the noise floor is between the halves of windows",
            cause="rounds = 1",
            advice="measure in rounds, in turn (quantswarm bench --rounds 4)",
        )
    if field.rounds == 2:
        yield Remark(
            name="two-rounds",
            seen="two rounds say little about how much rounds differ: intervals are wide",
            cause="with two values, Student's t is 12.7; with four it is 3.2",
            advice="measure four rounds (quantswarm bench --rounds 4)",
        )
    if any(found.low is None for found in ratios):
        yield Remark(
            name="no-interval",
            seen="some ratios have no interval",
            cause="one round, and windows under 8 s or too few samples in them",
            advice="measure longer windows (duration_s), or rounds",
        )
    yield from _gaps(field, baseline, ratios)


def _gaps(field: Field, baseline: str, ratios: Sequence[Ratio]) -> Iterator[Remark]:
    lacking = [load.words for load in field.loads if field.group(baseline, load) is None]
    if lacking:
        yield Remark(
            name="no-baseline",
            seen=f"{baseline} has no valid cell at {'; '.join(lacking)}: no ratios there",
            cause="its cells failed, are invalid, or were not measured",
            advice="measure them again (quantswarm bench --resume), or choose another baseline",
        )
    unpaired = [r for r in ratios if len(r.by_round) < field.rounds]
    if unpaired:
        names = ", ".join(dict.fromkeys(found.variant for found in unpaired))
        yield Remark(
            name="missing-rounds",
            seen=f"not every round could be paired: {names}",
            cause="a cell of the round failed, is invalid, or withholds the number",
            advice="measure what is missing (quantswarm bench --resume)",
        )
