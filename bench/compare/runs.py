"""Run directories read for a comparison, and refused where they cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quantswarm.bench.compare.across import Across, Judged, apart, differences, together
from quantswarm.bench.compare.document import comparison_as_json, groups_as_json
from quantswarm.bench.compare.measure import MEASURES, Measure
from quantswarm.bench.decide.case import case_across
from quantswarm.bench.decide.constraint import Constraint
from quantswarm.bench.decide.document import constrained_as_json, decision_as_json
from quantswarm.bench.decide.price import Price, stored_price
from quantswarm.bench.judge.summary import judged_cells
from quantswarm.models.errors import UnknownName, UserMistake

SHOWN = ("output_throughput", "ttft_p50_ms", "tpot_p50_ms", "itl_p99_ms")


def measures_named(keys: Sequence[str] | None) -> tuple[Measure, ...]:
    """The measures of the given keys, in the order of the declarations; the usual four for none."""
    wanted = keys or SHOWN
    known = {measure.key: measure for measure in MEASURES}
    for key in wanted:
        if key not in known:
            raise UnknownName("metric", key, known, next_step="--metric with one of these")
    return tuple(measure for measure in MEASURES if measure.key in wanted)


def read_runs(folders: Sequence[Path]) -> list[Judged]:
    """Each folder judged from its raw records; named by run id, or by path where ids are equal."""
    found = [judged_cells(folder) for folder in folders]
    names = [document["run_id"] for document, _, _ in found]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    return [
        Judged(
            name=name,
            host=document["host"],
            baseline=document["baseline"],
            cells=cells,
            blocks=blocks,
            quality=document["quality"],
            saturation=document["saturation"],
        )
        for name, (document, cells, blocks) in zip(names, found, strict=True)
    ]


def compare(
    folders: Sequence[Path],
    *,
    baseline: str | None = None,
    metrics: Sequence[str] | None = None,
    invalid: bool = False,
    anyway: bool = False,
    constraints: Sequence[Constraint] = (),
    price: Price | None = None,
) -> dict[str, Any]:
    """The comparison of all variants in these run directories, as one document.

    What is decided for are valid cells, also where `invalid` lets others into the ratios. Without
    a `price`, the first that is kept with a run is taken.
    `UserMistake` where runs differ in scenario, host or model (unless `anyway`), and where nothing
    can be compared; `UnknownName` for a baseline that no run has.
    """
    measures = measures_named(metrics)
    runs, unlike = alike(folders, anyway=anyway)
    across = together(runs, baseline=baseline, invalid=invalid)
    _check(across)
    valid = together(runs, baseline=across.baseline) if invalid else across
    case = case_across(runs, valid, price or kept_price(folders))
    return {
        "runs": [run.name for run in runs],
        "differences": unlike,
        "left_out": [
            {"run": run, "cell": cell, "reason": why} for run, cell, why in across.left_out
        ],
        "groups": groups_as_json(across.field),
        "comparison": comparison_as_json(across.field, across.baseline, measures, apart(runs)),
        "decision": decision_as_json(case) if case else None,
        "constraints": constrained_as_json(case, constraints) if case and constraints else None,
    }


def alike(folders: Sequence[Path], *, anyway: bool) -> tuple[list[Judged], list[str]]:
    """The runs, and what speaks against putting them together; `UserMistake` where something does,
    unless `anyway`."""
    runs = read_runs(folders)
    unlike = differences(runs)
    if unlike and not anyway:
        raise UserMistake(
            f"compare {' '.join(map(str, folders))}",
            "the runs did not measure the same",
            evidence="\n".join(f"They differ in {line}." for line in unlike),
            next_step="compare runs that are alike, or add --anyway",
        )
    return runs, unlike


def kept_price(folders: Sequence[Path]) -> Price | None:
    """The first price that is kept with one of the runs."""
    return next((price for folder in folders if (price := stored_price(folder))), None)


def _check(across: Across) -> None:
    field = across.field
    if across.baseline not in field.variants:
        raise UnknownName(
            "baseline", across.baseline, field.variants, next_step="--baseline with one of these"
        )
    if not any(True for _ in field.against(across.baseline)):
        loads = "; ".join(f"{group.variant} at {group.load.words}" for group in field.groups)
        raise UserMistake(
            "compare",
            f"no other variant has a valid cell at a load of {across.baseline}",
            evidence=f"Valid cells: {loads}.",
            next_step="measure a second variant at the same load",
        )
