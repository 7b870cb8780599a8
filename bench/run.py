"""The main job: every cell of a matrix, one server at a time; a failed cell stops no other."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from quantswarm.bench.cell import failed, measure, plan_for
from quantswarm.bench.estimate import Estimate
from quantswarm.bench.judge.cell import judge
from quantswarm.bench.load.scenario import Scenario, scenario_named
from quantswarm.bench.matrix import Cell, Matrix, Variant
from quantswarm.bench.needs import documents, left_out
from quantswarm.bench.physics.before import physics_of
from quantswarm.bench.physics.said import say_ceilings
from quantswarm.bench.quality import step as quality
from quantswarm.bench.rundir import (
    cell_folder,
    fresh_cell,
    keep_asked,
    open_run,
    status_of,
    write_manifest,
)
from quantswarm.bench.selection import Selection, check_pair, select
from quantswarm.bench.subject import Subject, fitted, served
from quantswarm.bench.ticker import Ticker
from quantswarm.engines import hardware
from quantswarm.engines.gpu import Gpus
from quantswarm.engines.gpu_vacancy import Vacancy, vacancy
from quantswarm.engines.prepare import Prepared, ServeOptions, prepare
from quantswarm.engines.process import key_in
from quantswarm.engines.server import running
from quantswarm.models.errors import BadFile, QuantswarmError

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A matrix being measured into a folder; `base` holds options that every server shares.

    The machine's figures from before `since` are taken again. `scored` are the variants whose
    quality was tried, with or without success.
    """

    matrix: Matrix
    scenario: Scenario
    run: Path
    base: ServeOptions
    estimate: Estimate
    say: Say
    gpus: Vacancy
    since: datetime | None = None
    scored: set[Variant] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """A server that is ready, and what it was made from."""

    subject: Subject
    selection: Selection
    prepared: Prepared


def run_matrix(
    matrix: Matrix,
    out: Path | None,
    *,
    resume: bool,
    base: ServeOptions,
    say: Say,
    since: datetime | None = None,
) -> Path:
    """Measure every cell that has no valid result yet; returns the run directory.

    Names and pairs are checked for all variants before anything starts. An engine that cannot run
    here, a server that dies or a swarm that fails makes a failed cell with its reason. A variant
    that `needs` absent hardware is left out by name. Figures of the machine from before `since` are
    taken again.
    """
    scenario = scenario_named(matrix.scenario)
    if base.api_key_file is not None:
        key_in(base.api_key_file)
    for variant in matrix.variants:
        check_pair(variant.engine, variant.quant)
    absent = left_out(matrix, hardware.host())
    run = open_run(matrix, out, resume=resume, host=hardware.host().as_dict())
    gone = documents(absent)
    keep_asked(run, matrix, gone)
    cells = [cell for cell in matrix.cells() if cell.variant not in absent]
    missing = [cell for cell in cells if not _is_sound(run, cell)]
    job = Job(
        matrix=matrix,
        scenario=scenario,
        run=run,
        base=base,
        estimate=Estimate(missing, _cell_seconds(matrix, scenario)),
        say=say,
        gpus=vacancy(Gpus.opened()),
        since=since,
    )
    say(
        f"run {run}: {len(missing)} of {len(cells)} cells to measure,"
        f" about {job.estimate.minutes_left():.0f} min once their weights are made"
    )
    for entry in gone:
        say(f"not measured: {entry['variant']}: {entry['reason']}")
    for _, block in groupby(missing, key=lambda cell: cell.block):
        _measure_variant(job, tuple(block))
    for variant in matrix.variants:
        _catch_up(job, variant)
    return run


def _is_sound(run: Path, cell: Cell) -> bool:
    """Whether a cell need not be measured again: its raw records are judged, as a report does."""
    if status_of(run, cell.name) != "ok":
        return False
    try:
        return judge(cell_folder(run, cell.name)).status == "ok"
    except BadFile:
        return False


def _measure_variant(job: Job, cells: Sequence[Cell]) -> None:
    """Every load of one variant on one server; after a death, the next load gets a new server.

    A server that did not start fails them all: it would not start for the next one either.
    """
    left = deque(cells)
    while left:
        begun = False
        cell = left[0]
        try:
            with _serving(job, cell) as up:
                while left:
                    cell, begun = left[0], True
                    _measure_cell(job, cell, up.subject)
                    left.popleft()
                    if up.subject.server is not None:
                        up.subject.server.raise_if_dead()
                _keep_quality(job, cell.variant, up)
        except QuantswarmError as error:
            if not begun:
                _fail_all(job, left, error)
            elif left and left[0] is cell:
                _fail(job, left.popleft(), error)


def _keep_quality(job: Job, variant: Variant, up: Up) -> None:
    """Once a variant, whichever round comes first; its server is idle now."""
    if up.subject.server is None or not quality.is_wanted(job.run, job.matrix, variant):
        return
    job.scored.add(variant)
    subject = quality.subject_of(
        up.selection,
        up.prepared,
        up.subject.server,
        model=variant.model,
        variant=variant.name,
    )
    quality.keep(job.run, job.matrix, variant, subject, job.say)


def _catch_up(job: Job, variant: Variant) -> None:
    """A server for quality alone, where loads were measured before and quality was not."""
    cells = [cell for cell in job.matrix.cells() if cell.variant == variant]
    if not any(status_of(job.run, cell.name) == "ok" for cell in cells):
        return
    if variant in job.scored or not quality.is_wanted(job.run, job.matrix, variant):
        return
    try:
        with _serving(job, cells[0], purpose="for its quality") as up:
            _keep_quality(job, variant, up)
    except QuantswarmError as error:
        job.say(f"{variant.name}: quality was not measured\n{error}")


@contextmanager
def _serving(job: Job, cell: Cell, *, purpose: str = "") -> Iterator[Up]:
    """Weights built or found, a server started, the subject to drive."""
    variant = cell.variant
    selection = select(variant.engine, variant.quant, variant.model)
    options = dataclasses.replace(
        job.base,
        port=0,
        users=job.matrix.places_of(variant),
        gpu_layers=variant.gpu_layers or job.base.gpu_layers,
        eager=variant.eager or job.base.eager,
        threads=variant.threads or job.base.threads,
        engine_options={**job.base.engine_options, **dict(variant.options)},
    )
    options = fitted(options, job.scenario, selection.artefact, seed=job.matrix.seed)
    prepared = prepare(
        selection.engine, selection.recipe, selection.artefact, options, found=selection.found
    )
    job.say(
        f"starting {_called(cell)} on {variant.model} {purpose}"
        if purpose
        else f"[{job.estimate.number}/{job.estimate.total}] starting {_called(cell)} "
        f"on {variant.model}; about {job.estimate.minutes_left():.0f} min left in all"
    )
    physics = physics_of(selection, prepared, since=job.since, say=job.say)
    say_ceilings(physics, job.scenario, job.matrix.users_of(variant), job.say)
    remarks = job.gpus.settled() if prepared.spec.device == "cuda" else ()
    with running(
        selection.engine,
        selection.artefact,
        prepared.spec,
        prepared.flags,
        found=selection.found,
        log=job.run / "servers" / f"{cell.server}.log",
    ) as server:
        job.estimate.started(variant.engine, server.load_s)
        subject = served(selection, prepared, server, remarks, physics)
        subject = dataclasses.replace(subject, facts={**subject.facts, **_place(cell)})
        yield Up(subject=subject, selection=selection, prepared=prepared)


def _called(cell: Cell) -> str:
    """Engine and quantization, and label and round where there is more to say."""
    variant = cell.variant
    label = f" ({variant.label})" if variant.label else ""
    again = f" for round {cell.round}" if cell.round > 1 else ""
    return f"{variant.engine} {variant.quant}{label}{again}"


def _place(cell: Cell) -> dict[str, Any]:
    """What a manifest says of a cell's place in its matrix."""
    variant = cell.variant
    return {
        "variant": variant.name,
        "label": variant.label,
        "round": cell.round,
        "block": cell.block,
    }


def _measure_cell(job: Job, cell: Cell, subject: Subject) -> None:
    folder = fresh_cell(job.run, cell.name)
    label = f"[{job.estimate.number}/{job.estimate.total}] {cell.name}"
    plan = plan_for(
        subject,
        scenario=job.scenario,
        users=cell.users,
        arrivals=cell.arrivals,
        out_dir=folder,
        cell=cell.name,
        warmup_s=job.matrix.warmup_s,
        duration_s=job.matrix.duration_s,
        seed=cell.seed,
        processes=job.matrix.processes,
    )
    status = measure(subject, plan, Ticker(job.say, label))
    job.estimate.finished(cell)
    job.say(f"{label}: {status}")


def _fail_all(job: Job, left: deque[Cell], error: QuantswarmError) -> None:
    while left:
        fresh_cell(job.run, left[0].name)
        _fail(job, left.popleft(), error)


def _fail(job: Job, cell: Cell, error: QuantswarmError) -> None:
    """Give the cell a manifest that says why it has no result, unless it has one already."""
    job.estimate.finished(cell)
    job.say(f"{cell.name}: failed\n{error}")
    if status_of(job.run, cell.name) is None:
        variant = cell.variant
        identity = {"engine": variant.engine, "quant": variant.quant, "model": variant.model}
        load = {"users": cell.users, "arrivals": cell.arrivals and cell.arrivals.as_json()}
        write_manifest(
            cell_folder(job.run, cell.name),
            {**identity, **load, **_place(cell), **failed(error)},
        )


def _cell_seconds(matrix: Matrix, scenario: Scenario) -> float:
    warmup = scenario.warmup_s if matrix.warmup_s is None else matrix.warmup_s
    return warmup + (scenario.duration_s if matrix.duration_s is None else matrix.duration_s)
