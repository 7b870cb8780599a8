"""One cell: drive a subject, watch its server, write the manifest last."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quantswarm.bench.footprint import footprint
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.progress import Progress
from quantswarm.bench.load.share import split_of
from quantswarm.bench.load.swarm import SwarmResult, drive
from quantswarm.bench.physics.expected import expected
from quantswarm.bench.rundir import write_manifest
from quantswarm.bench.subject import Subject
from quantswarm.bench.watch import Watch
from quantswarm.engines import hardware
from quantswarm.engines.registry import engine_named
from quantswarm.models.errors import QuantswarmError

OnProgress = Callable[[Progress], None]
OK = "ok"


def measure(subject: Subject, plan: SwarmPlan, on_progress: OnProgress) -> str:
    """Run the swarm against the subject; returns the cell's status.

    The plan's `out_dir` receives records, samples and the server's log; the manifest is written
    last, also when the swarm or the server fails or Ctrl-C ends it: then the error, or the
    `KeyboardInterrupt`, is raised again.
    """
    folder = plan.out_dir
    try:
        with Watch(subject, folder) as watch:
            result = drive(plan, on_progress)
    except QuantswarmError as error:
        _keep_log(subject, folder)
        write_manifest(folder, {**_asked(subject, plan), **failed(error)})
        raise
    _keep_log(subject, folder)
    death = _death(subject)
    status, reason = _verdict(result)
    watched = watch.facts()
    write_manifest(
        folder,
        {
            **_asked(subject, plan),
            "status": status,
            "reason": reason,
            **watched,
            "footprint": footprint(subject, watched),
            **_told_by_log(subject),
            "ended_early": result.ended_early,
            "window": asdict(result.window),
            "harness": dict(result.harness),
            "warnings": [
                *subject.warnings,
                *watch.warnings(),
                *(item.as_json() for item in result.warnings),
            ],
            "server_alive": None if subject.server is None else death is None,
            **(failed(death) if death is not None else {}),
        },
    )
    if death is not None:
        raise death
    if result.interrupted:
        raise KeyboardInterrupt
    return status


def _death(subject: Subject) -> QuantswarmError | None:
    """Why the server that we started is not running any more; None when it is."""
    try:
        if subject.server is not None:
            subject.server.raise_if_dead()
    except QuantswarmError as error:
        return error
    return None


def failed(error: QuantswarmError) -> dict[str, Any]:
    """The part of a manifest that says why there is no result."""
    return {"status": "failed", "reason": str(error), "error": type(error).__name__}


def _asked(subject: Subject, plan: SwarmPlan) -> dict[str, Any]:
    """What was to be measured, where."""
    return {
        "engine": subject.engine,
        "quant": subject.quant,
        "model": subject.model,
        "users": plan.users,
        "arrivals": plan.arrivals.as_json() if plan.arrivals is not None else None,
        "scenario": plan.scenario.as_json(),
        "scenario_hash": plan.scenario.digest(),
        **({"prefix_sharing": True} if plan.scenario.shares_prefixes else {}),
        "slo": plan.scenario.slo.as_json() if plan.scenario.slo is not None else None,
        "warmup_s": plan.warmup,
        "duration_s": plan.duration,
        "seed": plan.seed,
        "processes": split_of(plan).processes,
        "base_url": subject.base_url,
        "served_name": subject.served_name,
        "host": hardware.host().as_dict(),
        "warnings": list(subject.warnings),
        "ceiling": _ceiling(subject, plan),
        "footprint": footprint(subject, {}),
        **subject.facts,
    }


def _ceiling(subject: Subject, plan: SwarmPlan) -> dict[str, Any] | None:
    """What the machine could do at best under this load; None for a server without weights."""
    if subject.physics is None:
        return None
    return subject.physics.ceiling(plan.users, expected(plan.scenario))


def _verdict(result: SwarmResult) -> tuple[str, str | None]:
    """`invalid` when the harness lost something, `failed` when there is nothing to judge."""
    if result.interrupted:
        return "failed", "interrupted before its end"
    if result.invalid_reason is not None:
        return "invalid", result.invalid_reason
    if not result.outcomes.get(OK):
        return "failed", f"none of {result.recorded} requests succeeded: {_classes(result)}"
    return "ok", None


def _classes(result: SwarmResult) -> str:
    ordered = sorted(result.outcomes.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {outcome}" for outcome, count in ordered) or "none was sent"


def _told_by_log(subject: Subject) -> dict[str, Any]:
    """What the server's log says of its kernels and its cache."""
    if subject.server is None:
        return {"kernels": []}
    log = subject.server.log.read_text(encoding="utf-8", errors="replace")
    engine = engine_named(subject.engine)
    return {"kernels": list(engine.kernels(log)), **engine.served_with(log)}


def _keep_log(subject: Subject, folder: Path) -> None:
    if subject.server is not None and subject.server.log.is_file():
        shutil.copyfile(subject.server.log, folder / "server.log")


def plan_for(subject: Subject, **fields: Any) -> SwarmPlan:
    """The load for a subject: where to send it, and how its engine wants to be asked."""
    return SwarmPlan(
        base_url=subject.base_url,
        served_name=subject.served_name,
        pinned_by=subject.pinned_by,
        keeps_alive=subject.keeps_alive,
        api_key_file=subject.api_key_file,
        tokenizer=subject.tokenizer,
        cores=subject.client_cores,
        **fields,
    )
