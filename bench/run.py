"""The main job: every cell of a matrix, one server at a time; a failed cell stops no other."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from quantswarm.bench.cell import failed, measure, plan_for
from quantswarm.bench.estimate import Estimate
from quantswarm.bench.load.scenario import Scenario, scenario_named
from quantswarm.bench.matrix import Cell, Matrix, Variant
from quantswarm.bench.rundir import (
    FINISHED,
    cell_folder,
    fresh_cell,
    open_run,
    status_of,
    write_manifest,
)
from quantswarm.bench.selection import check_pair, select
from quantswarm.bench.subject import Subject, served
from quantswarm.bench.ticker import Ticker
from quantswarm.engines import hardware
from quantswarm.engines.gpu import Gpus
from quantswarm.engines.gpu_vacancy import Vacancy, vacancy
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.process import key_in
from quantswarm.engines.server import running
from quantswarm.models.errors import QuantswarmError

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A matrix being measured into a folder; `base` holds options that every server shares."""

    matrix: Matrix
    scenario: Scenario
    run: Path
    base: ServeOptions
    estimate: Estimate
    say: Say
    gpus: Vacancy


def run_matrix(
    matrix: Matrix, out: Path | None, *, resume: bool, base: ServeOptions, say: Say
) -> Path:
    """Measure every cell that has no result yet; returns the run directory.

    Names and pairs are checked for all variants before anything starts. An engine that cannot run
    here, a server that dies or a swarm that fails makes a failed cell with its reason.
    """
    scenario = scenario_named(matrix.scenario)
    if base.api_key_file is not None:
        key_in(base.api_key_file)
    for variant in matrix.variants:
        check_pair(variant.engine, variant.quant)
    run = open_run(matrix, out, resume=resume, host=hardware.host().as_dict())
    missing = [cell for cell in matrix.cells() if status_of(run, cell.name) not in FINISHED]
    job = Job(
        matrix=matrix,
        scenario=scenario,
        run=run,
        base=base,
        estimate=Estimate(missing, _cell_seconds(matrix, scenario)),
        say=say,
        gpus=vacancy(Gpus.opened()),
    )
    say(f"run {run}: {len(missing)} of {len(matrix.cells())} cells to measure")
    for _, cells in groupby(missing, key=lambda cell: cell.variant):
        _measure_variant(job, tuple(cells))
    return run


def _measure_variant(job: Job, cells: Sequence[Cell]) -> None:
    """Every load of one variant on one server; after a death, the next load gets a new server.

    A server that did not start fails them all: it would not start for the next one either.
    """
    left = deque(cells)
    while left:
        begun = False
        cell = left[0]
        try:
            with _serving(job, cell.variant) as subject:
                while left:
                    cell, begun = left[0], True
                    _measure_cell(job, cell, subject)
                    left.popleft()
                    if subject.server is not None:
                        subject.server.raise_if_dead()
        except QuantswarmError as error:
            if not begun:
                _fail_all(job, left, error)
            elif left and left[0] is cell:
                _fail(job, left.popleft(), error)


@contextmanager
def _serving(job: Job, variant: Variant) -> Iterator[Subject]:
    """Weights built or found, a server started, the subject to drive."""
    selection = select(variant.engine, variant.quant, variant.model)
    options = dataclasses.replace(
        job.base,
        port=0,
        users=max(job.matrix.users),
        gpu_layers=variant.gpu_layers or job.base.gpu_layers,
        eager=variant.eager or job.base.eager,
        threads=variant.threads or job.base.threads,
    )
    prepared = prepare(selection.engine, selection.recipe, selection.artefact, options)
    job.say(
        f"[{job.estimate.number}/{job.estimate.total}] starting {variant.engine} {variant.quant} "
        f"on {variant.model}; about {job.estimate.minutes_left():.0f} min left in all"
    )
    remarks = job.gpus.settled() if prepared.spec.device == "cuda" else ()
    with running(
        selection.engine,
        selection.artefact,
        prepared.spec,
        prepared.flags,
        log=job.run / "servers" / f"{variant.name}.log",
    ) as server:
        job.estimate.started(variant.engine, server.load_s)
        yield served(selection, prepared, server, job.scenario.output_tokens, remarks)


def _measure_cell(job: Job, cell: Cell, subject: Subject) -> None:
    folder = fresh_cell(job.run, cell.name)
    label = f"[{job.estimate.number}/{job.estimate.total}] {cell.name}"
    plan = plan_for(
        subject,
        scenario=job.scenario,
        users=cell.users,
        out_dir=folder,
        cell=cell.name,
        warmup_s=job.matrix.warmup_s,
        duration_s=job.matrix.duration_s,
        seed=job.matrix.seed,
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
        write_manifest(
            cell_folder(job.run, cell.name), {**identity, "users": cell.users, **failed(error)}
        )


def _cell_seconds(matrix: Matrix, scenario: Scenario) -> float:
    warmup = scenario.warmup_s if matrix.warmup_s is None else matrix.warmup_s
    return warmup + (scenario.duration_s if matrix.duration_s is None else matrix.duration_s)
