"""Variants of several runs against each other: what makes runs comparable, and what is left out."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantswarm.bench.compare.entries import run_of, sound, variant_of
from quantswarm.bench.compare.field import Field
from quantswarm.bench.compare.measure import Run
from quantswarm.bench.judge.blocks import Blocks
from quantswarm.bench.judge.remarks import Remark

_HOST = ("cpu", "isa", "cores", "gpus")
"""What makes two hosts different machines for a comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A run directory, judged: `cells` as in its summary, and the blocks of each by name.
    `baseline` is the one its matrix names, or the fastest unquantized; `quality` has the documents
    of its variants by name, `saturation` a search as summaries hold it."""

    name: str
    host: Mapping[str, Any] | None
    baseline: str
    cells: Sequence[Mapping[str, Any]]
    blocks: Mapping[str, Blocks | None]
    quality: Mapping[str, Any] = field(default_factory=dict)
    saturation: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    """Runs put together. `left_out` has (run, cell, why) of each cell that is not compared."""

    field: Field
    baseline: str
    left_out: tuple[tuple[str, str, str], ...]


def differences(runs: Sequence[Judged]) -> list[str]:
    """What speaks against comparing the runs, a line each; empty where nothing does."""
    found = []
    for what, facts in (("scenario", _scenarios), ("host", _host), ("model", _models)):
        seen = {run.name: facts(run) for run in runs}
        if len(set(seen.values())) > 1:
            said = "; ".join(f"{name}: {text}" for name, text in seen.items())
            found.append(f"{what} ({said})")
    return found


def together(runs: Sequence[Judged], *, baseline: str | None, invalid: bool = False) -> Across:
    """All variants in one field. Names that several runs have get the run's behind an @; models,
    where the runs have different ones, go into the name, so that loads can meet."""
    names, models = names_in(runs), _several_models(runs)
    entries: list[Run] = []
    left_out: list[tuple[str, str, str]] = []
    for run in runs:
        for cell in run.cells:
            if sound(cell) or (invalid and _has_numbers(cell)):
                found = run_of(cell, run.blocks.get(cell["cell"]))
                name = names[run.name, found.variant, found.load.model]
                entries.append(_renamed(found, run.name, name, with_model=models))
            else:
                why = cell["reason"] or "over 1 % of its requests failed"
                left_out.append((run.name, cell["cell"], f"{cell['status']}: {why}"))
    field = Field(entries)
    return Across(
        field=field,
        baseline=_baseline(field, runs[0], baseline),
        left_out=tuple(left_out),
    )


def names_in(runs: Sequence[Judged]) -> dict[tuple[str, str, str], str]:
    """(run, variant, model) → the variant's name in the field of all these runs."""
    counts = Counter(name for run in runs for name in {variant_of(cell) for cell in run.cells})
    with_model = _several_models(runs)
    found = {}
    for run in runs:
        for cell in run.cells:
            variant, model = variant_of(cell), str(cell["model"])
            name = f"{variant} ({model})" if with_model else variant
            found[run.name, variant, model] = f"{name}@{run.name}" if counts[variant] > 1 else name
    return found


def apart(runs: Sequence[Judged]) -> Iterator[Remark]:
    """What comparing across runs cannot do, however alike the runs are."""
    if len(runs) > 1:
        yield Remark(
            name="not-interleaved",
            seen=f"{len(runs)} runs, measured at different times: what drifted between them stands "
            "in every ratio across runs, and in no noise floor",
            cause="rounds are interleaved within a run only",
            advice="for a small difference, measure both variants in one matrix with rounds",
        )


def _has_numbers(cell: Mapping[str, Any]) -> bool:
    return cell["status"] in ("ok", "invalid") and cell["output_throughput"] is not None


def _renamed(found: Run, run: str, name: str, *, with_model: bool) -> Run:
    load = dataclasses.replace(found.load, model="") if with_model else found.load
    return dataclasses.replace(found, cell=f"{run}/{found.cell}", variant=name, load=load)


def _baseline(field: Field, first: Judged, asked: str | None) -> str:
    """The name in the field; a run's own name for a variant finds the first that bears it."""
    wanted = asked or first.baseline
    if wanted in field.variants:
        return wanted
    starts = (f"{wanted}@", f"{wanted} (")
    return next((name for name in field.variants if name.startswith(starts)), wanted)


def _several_models(runs: Sequence[Judged]) -> bool:
    return len({_models(run) for run in runs}) > 1


def _scenarios(run: Judged) -> str:
    return _listed(
        {str(cell.get("scenario_hash")) for cell in run.cells if cell.get("scenario_hash")}
    )


def _models(run: Judged) -> str:
    return _listed({str(cell["model"]) for cell in run.cells})


def _host(run: Judged) -> str:
    facts = {key: (run.host or {}).get(key) for key in _HOST}
    return json.dumps(facts, sort_keys=True, default=str)


def _listed(texts: set[str]) -> str:
    return ", ".join(sorted(texts)) or "not known"
