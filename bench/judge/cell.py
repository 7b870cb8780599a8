"""Judging one cell: manifest and records in, numbers, status and warnings out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench.judge.blocks import Blocks, blocks_of
from quantswarm.bench.judge.engine_view import (
    FILE,
    EngineView,
    Scrape,
    engine_view,
    read_scrapes,
)
from quantswarm.bench.judge.gates import KEPT_UP, Passage, failed, passages
from quantswarm.bench.judge.goodput import Attainment, attainment
from quantswarm.bench.judge.latency import LATENCIES
from quantswarm.bench.judge.manifest import Manifest, read_manifest
from quantswarm.bench.judge.percentile import Distribution, distribution
from quantswarm.bench.judge.phases import Phases, phases
from quantswarm.bench.judge.rate import RATES
from quantswarm.bench.judge.records import RecordsFile, read_records
from quantswarm.bench.judge.remarks import Evidence, remarks
from quantswarm.bench.judge.resources import FILE as SAMPLES
from quantswarm.bench.judge.resources import Resources, read_samples, resources
from quantswarm.bench.judge.window import Cut, cut
from quantswarm.bench.physics import reached as physics
from quantswarm.bench.physics.reached import Reached


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """One cell, judged. `requests` and the measures are None or empty where nothing was measured.

    `requests` counts those begun in the window, `failures` the failed among them. Percentiles
    exist for a failed or invalid cell too; `status` says that they must not be compared. There are
    none of a server that did not keep up: they would depend on the window's length.
    `gates` is empty where nothing was measured.
    """

    name: str
    status: str
    reason: str | None
    manifest: Manifest
    requests: int | None
    failures: int | None
    failures_by_class: Mapping[str, int]
    failures_outside_window: Mapping[str, int]
    latencies: Mapping[str, Distribution]
    rates: Mapping[str, float | None]
    warnings: tuple[Mapping[str, Any], ...]
    engine: EngineView | None = None
    blocks: Blocks | None = None
    slo: Attainment | None = None
    gates: tuple[Passage, ...] = ()
    resources: Resources | None = None
    reached: Reached | None = None
    phases: Phases | None = None


def judge(cell_dir: Path) -> CellResult:
    """Judge a cell from its directory alone; raises BadFile for a manifest or record that is not
    what it should be. A cell that failed before its window needs no records."""
    manifest = read_manifest(cell_dir / "manifest.json")
    records_path = cell_dir / "records.jsonl"
    nothing = manifest.status != "ok" and not records_path.exists()
    if nothing or manifest.status == "skipped":
        return unmeasured(cell_dir.name, manifest, status=manifest.status, reason=manifest.reason)
    if manifest.window is None:
        return _windowless(cell_dir.name, manifest)
    scrapes = read_scrapes(cell_dir / FILE)
    used = resources(read_samples(cell_dir / SAMPLES), manifest.window)
    return _measured(cell_dir.name, manifest, read_records(records_path), scrapes, used)


def _windowless(name: str, manifest: Manifest) -> CellResult:
    if manifest.status != "ok":
        return unmeasured(name, manifest, status=manifest.status, reason=manifest.reason)
    reason = "the manifest holds no measurement window"
    return unmeasured(name, manifest, status="invalid", reason=reason)


def unmeasured(name: str, manifest: Manifest, *, status: str, reason: str | None) -> CellResult:
    """A cell without numbers: only its manifest's facts, and why there is nothing else."""
    return CellResult(
        name=name,
        status=status,
        reason=reason or "no reason was recorded",
        manifest=manifest,
        requests=None,
        failures=None,
        failures_by_class={},
        failures_outside_window={},
        latencies={},
        rates={},
        warnings=manifest.warnings,
    )


def _measured(
    name: str,
    manifest: Manifest,
    file: RecordsFile,
    scrapes: Sequence[Scrape] | None,
    used: Resources | None,
) -> CellResult:
    assert manifest.window is not None
    part = cut(
        file.records,
        manifest.window,
        users=manifest.users,
        open_loop=manifest.open_loop,
        slo=manifest.slo,
    )
    engine = engine_view(scrapes, part)
    latencies = {m.name: distribution([m.of(r) for r in part.good]) for m in LATENCIES}
    rates = {metric.name: metric.of(part) for metric in RATES}
    evidence = Evidence(
        manifest=manifest,
        cut=part,
        latencies=latencies,
        rates=rates,
        truncated=file.truncated,
        engine=engine,
        resources=used,
    )
    by_class = Counter(record.outcome for record in part.failed)
    everywhere = Counter(record.outcome for record in part.everything if not record.ok)
    gates = passages(evidence)
    status, reason = _verdict(manifest, part, by_class, failed(gates))
    ceiling = manifest.ceiling
    shares = physics.reached(ceiling, part, latencies, rates)
    told = (*remarks(evidence), *physics.remarks(shares, ceiling)) if part.started else ()
    found = tuple(remark.as_json() for remark in told)
    return CellResult(
        name=name,
        status=status,
        reason=reason,
        manifest=manifest,
        requests=len(part.started),
        failures=len(part.failed),
        failures_by_class=dict(sorted(by_class.items())),
        failures_outside_window=dict(sorted((everywhere - by_class).items())),
        latencies=_withheld(latencies) if _unstable(gates) else latencies,
        rates=rates,
        warnings=_merged(manifest.warnings, found),
        engine=engine,
        blocks=blocks_of(part),
        slo=attainment(part),
        gates=gates,
        resources=used,
        reached=shares,
        phases=phases(part, latencies, rates, engine),
    )


def _unstable(gates: Sequence[Passage]) -> bool:
    return any(gate.name == KEPT_UP for gate in failed(gates))


def _withheld(latencies: Mapping[str, Distribution]) -> dict[str, Distribution]:
    return {
        name: dataclasses.replace(found, quantiles=dict.fromkeys(found.quantiles))
        for name, found in latencies.items()
    }


def _merged(
    given: tuple[Mapping[str, Any], ...], found: tuple[Mapping[str, Any], ...]
) -> tuple[Mapping[str, Any], ...]:
    """Warnings of the measuring first; one of the same name found again is not said twice."""
    names = {warning["name"] for warning in given}
    return given + tuple(warning for warning in found if warning["name"] not in names)


def _verdict(
    manifest: Manifest, part: Cut, by_class: Mapping[str, int], broken: Sequence[Passage]
) -> tuple[str, str | None]:
    """Status and reason: what measuring said, unless the records say worse."""
    if manifest.status != "ok":
        return manifest.status, manifest.reason or "no reason was recorded"
    if part.started and not part.good:
        classes = ", ".join(f"{name} {count}" for name, count in sorted(by_class.items()))
        return "failed", f"all {len(part.started)} requests failed ({classes})"
    if broken:
        return "invalid", "; ".join(gate.said or gate.name for gate in broken)
    return "ok", None
