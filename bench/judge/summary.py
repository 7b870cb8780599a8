"""`summary.json`: every cell of a run in one document, which all reports are made from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from quantswarm.bench.atomic import write_text
from quantswarm.bench.compare.document import comparison_as_json, groups_as_json
from quantswarm.bench.compare.entries import run_of, sound, variant_of
from quantswarm.bench.compare.field import Field
from quantswarm.bench.decide.case import case_of_run, eligible
from quantswarm.bench.decide.document import decision_as_json
from quantswarm.bench.decide.price import Price, stored_price
from quantswarm.bench.decide.spent import spent
from quantswarm.bench.judge.answer import answers, fastest_unquantized
from quantswarm.bench.judge.blocks import Blocks
from quantswarm.bench.judge.cell import CellResult, judge, unmeasured
from quantswarm.bench.judge.claimed import Known, claims_as_json
from quantswarm.bench.judge.engine_view import prefix_hits
from quantswarm.bench.judge.gates import failed
from quantswarm.bench.judge.manifest import Manifest, read_manifest, read_object
from quantswarm.bench.judge.percentile import Distribution
from quantswarm.bench.judge.quality_files import quality_name
from quantswarm.bench.physics import reached as physics
from quantswarm.bench.quality.kept import read_all
from quantswarm.bench.saturation.outcome import judged_again
from quantswarm.models.errors import BadFile
from quantswarm.models.recipes import recipes

SCHEMA = 1
_FACTS = (
    "variant",
    "label",
    "round",
    "block",
    "seed",
    "scenario",
    "scenario_hash",
    "arrivals",
    "argv",
    "env",
    "reasons",
    "host",
    "versions",
    "placement",
    "kernels",
    "kernel",
    "kv_cache_dtype",
    "kv_cache_tokens",
    "artefact_sha256",
    "harness",
    "telemetry",
    "scraping",
)


def summarise(run_dir: Path, *, include_invalid: bool = False) -> dict[str, Any]:
    """Judge every cell of a run directory; needs no server, and nothing but the directory.

    `include_invalid` lets cells that failed a validity gate into answers, tables and plots.
    A cell whose files are not what they should be is "invalid" and says why; the others stand.
    Raises BadFile when the directory holds no cells.
    """
    run, cells, blocks = _judged(run_dir, include_invalid=include_invalid)
    quality = read_all(run_dir)
    _add_remarks(cells, quality)
    field = Field(run_of(cell, blocks[cell["cell"]]) for cell in cells if sound(cell))
    saturation = judged_again(run_dir, cells)
    price = stored_price(run_dir)
    cells = [cell | spent(cell, price) for cell in cells]
    return {
        "schema": SCHEMA,
        "run": str(run_dir),
        "run_id": run.get("run_id") or run_dir.name,
        "started_utc": run.get("started_utc"),
        "matrix": run.get("matrix"),
        "host": run.get("host") or _first(cells, "host"),
        "versions": run.get("versions") or _first(cells, "versions"),
        "include_invalid": include_invalid,
        "answers": [] if saturation else answers(cells, field),
        "saturation": saturation,
        "groups": groups_as_json(field),
        "comparison": _comparison(run.get("matrix"), cells, field),
        "claims": claims_as_json(
            run.get("matrix"),
            Known(cells=cells, field=field, quality=quality, left_out=run.get("left_out") or ()),
        ),
        "left_out": run.get("left_out") or [],
        "quality": quality,
        "decision": None
        if saturation
        else _decision(run.get("matrix"), cells, blocks, quality, price),
        "cells": cells,
    }


def _add_remarks(cells: Sequence[dict[str, Any]], quality: Mapping[str, Mapping[str, Any]]) -> None:
    """What a variant's quality warns of stands beside the variant's cells."""
    for cell in cells:
        name = quality_name(quality, cell)
        found = quality[name] if name is not None else {}
        cell["warnings"] += [dict(one) for one in found.get("warnings") or ()]


def judged_cells(
    run_dir: Path,
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Blocks | None]]:
    """What comparing runs needs of one: its id, host, baseline, quality and search; its cells;
    their blocks."""
    run, cells, blocks = _judged(run_dir)
    matrix = run.get("matrix")
    facts = {
        "run_id": run.get("run_id") or run_dir.name,
        "host": run.get("host") or _first(cells, "host"),
        "baseline": _baseline(matrix, cells),
        "quality": read_all(run_dir),
        "saturation": judged_again(run_dir, cells),
    }
    return facts, cells, blocks


def _judged(
    run_dir: Path, *, include_invalid: bool = False
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Blocks | None]]:
    """`run.json`, every cell in the order of reports, and each one's blocks by its name."""
    results = _results(run_dir)
    if not results:
        raise BadFile(
            f"run directory {run_dir}",
            "it holds no cells" if run_dir.is_dir() else "no such directory",
            evidence="A run directory has a folder 'cells' with one folder a cell.",
            next_step="give the directory that quantswarm bench printed",
        )
    run = read_object(run_dir / "run.json") if (run_dir / "run.json").exists() else {}
    cells = sorted(
        (cell_as_json(result, include_invalid=include_invalid) for result in results), key=_order
    )
    return run, cells, {result.name: result.blocks for result in results}


def _comparison(
    matrix: Mapping[str, Any] | None, cells: Sequence[Mapping[str, Any]], field: Field
) -> dict[str, Any] | None:
    """None for a run of one round that names no baseline: its table is what there is to say."""
    asked = (matrix or {}).get("baseline")
    if len(field.variants) < 2 or (asked is None and field.rounds < 2):
        return None
    return comparison_as_json(field, _baseline(matrix, cells))


def _decision(
    matrix: Mapping[str, Any] | None,
    cells: Sequence[Mapping[str, Any]],
    blocks: Mapping[str, Blocks | None],
    quality: Mapping[str, Any],
    price: Price | None,
) -> dict[str, Any] | None:
    """None where there is nothing to choose between. Cells that failed a gate have no part in it,
    whatever was asked for the tables."""
    field = Field(run_of(cell, blocks[cell["cell"]]) for cell in cells if eligible(cell))
    asked = _baseline(matrix, cells)
    case = case_of_run(field, cells, quality, baseline=asked, price=price)
    if case is None or len(field.variants) < 2:
        return None
    return decision_as_json(case)


def _baseline(matrix: Mapping[str, Any] | None, cells: Sequence[Mapping[str, Any]]) -> str:
    """The matrix's; else the host's fastest unquantized variant; else the first one."""
    named = (matrix or {}).get("baseline")
    if named:
        return str(named)
    fastest = fastest_unquantized([cell for cell in cells if sound(cell)])
    return variant_of(fastest) if fastest else _first_variant(matrix, cells)


def _first_variant(matrix: Mapping[str, Any] | None, cells: Sequence[Mapping[str, Any]]) -> str:
    """The first of the matrix; where that is not known, the first that ran."""
    found = [variant for variant in (matrix or {}).get("variants") or () if variant.get("engine")]
    if found:
        return variant_of({"cell": "", "variant": found[0].get("label"), **_offload(found[0])})
    return variant_of(min(cells, key=lambda cell: cell.get("block") or 0))


def _offload(variant: Mapping[str, Any]) -> dict[str, Any]:
    layers = variant.get("gpu_layers")
    return {**variant, "cell": "" if layers is None else f"-ngl_{layers}"}


def write_summary(run_dir: Path, *, include_invalid: bool = False) -> dict[str, Any]:
    """Summarise, write `summary.json` in one step, and return what it holds."""
    summary = summarise(run_dir, include_invalid=include_invalid)
    text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(run_dir / "summary.json", text + "\n")
    return summary


def _order(cell: Mapping[str, Any]) -> tuple[str, int, float, str, str, str]:
    rate = (cell["arrivals"] or {}).get("rate") or 0.0
    return (cell["model"], cell["users"], rate, cell["engine"], cell["quant"], cell["cell"])


def _first(cells: list[dict[str, Any]], key: str) -> Any:
    return next((cell[key] for cell in cells if cell.get(key)), None)


def _results(run_dir: Path) -> list[CellResult]:
    """Every cell; one without a readable manifest is known by its folder's name, if it has one."""
    folders = sorted(path for path in (run_dir / "cells").glob("*") if path.is_dir())
    found = {folder: _result(folder) for folder in folders}
    models = {result.manifest.model for result in found.values() if isinstance(result, CellResult)}
    model = models.pop() if len(models) == 1 else "unknown"
    named = (_named(folder.name, model, result) for folder, result in found.items())
    return [result for result in named if result is not None]


def _named(name: str, model: str, result: CellResult | BadFile) -> CellResult | None:
    if isinstance(result, CellResult):
        return result
    manifest = _from_name(name, model)
    return _invalid(name, manifest, result) if manifest else None


def _result(folder: Path) -> CellResult | BadFile:
    try:
        return judge(folder)
    except BadFile as error:
        try:
            return _invalid(folder.name, read_manifest(folder / "manifest.json"), error)
        except BadFile:
            return error


def _invalid(name: str, manifest: Manifest, error: BadFile) -> CellResult:
    reason = str(error).splitlines()[0]
    return unmeasured(name, manifest, status="invalid", reason=reason)


@cache
def _cell_name() -> re.Pattern[str]:
    """Known quantizations are tried first: some have a hyphen in their name, as some engines do."""
    known = "|".join(re.escape(name) for name in sorted(recipes(), key=len, reverse=True))
    return re.compile(
        rf"(?P<engine>.+?)-(?P<quant>{known}|[^-]+)-(?P<load>u\d+|r[\d.]+|trace)"
        r"(-round(?P<round>\d+))?"
    )


def _from_name(name: str, model: str) -> Manifest | None:
    """What "engine-quant-uN" and its like tell; None for a folder that is no cell's."""
    match = _cell_name().fullmatch(name)
    if match is None:
        return None
    load, number = match["load"], match["round"]
    return Manifest(
        engine=match["engine"],
        quant=match["quant"],
        model=model,
        users=int(load[1:]) if load[0] == "u" else 0,
        status="invalid",
        reason=None,
        window=None,
        warnings=(),
        harness={},
        facts={"round": int(number)} if number else {},
    )


def cell_as_json(result: CellResult, *, include_invalid: bool = False) -> dict[str, Any]:
    """One cell of the summary: the keys of the published schema first, then everything known.

    `compared` says whether its numbers may stand beside others.
    """
    manifest = result.manifest
    hits, source = prefix_hits(result.engine, result.rates.get("cached_share"))
    wanted = ("ok", "invalid") if include_invalid else ("ok",)
    return {
        "engine": manifest.engine,
        "quant": manifest.quant,
        "model": manifest.model,
        "users": manifest.users,
        "status": result.status,
        "reason": result.reason,
        "output_throughput": result.rates.get("output_throughput"),
        "request_throughput": result.rates.get("request_throughput"),
        "ttft_p50_ms": _quantile(result, "ttft", "p50"),
        "ttft_p95_ms": _quantile(result, "ttft", "p95"),
        "tpot_p50_ms": _quantile(result, "tpot", "p50"),
        "itl_p99_ms": _quantile(result, "itl", "p99"),
        "e2e_p50_ms": _quantile(result, "e2e", "p50"),
        "requests": result.requests,
        "failures": result.failures,
        "weights_bytes": manifest.number("weights_bytes"),
        "rss_peak_bytes": manifest.number("rss_peak_bytes"),
        "load_s": manifest.number("load_s"),
        "warnings": [dict(warning) for warning in result.warnings],
        "cell": result.name,
        "compared": result.status in wanted and result.requests is not None,
        "gates": [gate.as_json() for gate in result.gates],
        "failed_gates": [gate.name for gate in failed(result.gates)],
        "engine_view": result.engine.as_json() if result.engine else None,
        "goodput": result.rates.get("goodput"),
        "slo_attainment": result.rates.get("slo_attainment"),
        "slo": result.slo.as_json() if result.slo else None,
        "prefix_hit_rate": hits,
        "prefix_hit_source": source,
        "resources": result.resources.as_json() if result.resources else None,
        "ceiling": physics.as_json(manifest.ceiling, result.reached),
        "window_s": manifest.window.length_s if manifest.window else None,
        "failures_by_class": dict(result.failures_by_class),
        "failures_outside_window": dict(result.failures_outside_window),
        "latencies_ms": {name: _spread(d) for name, d in result.latencies.items()},
        "rates": dict(result.rates),
        **{key: manifest.facts.get(key) for key in _FACTS},
    }


def _quantile(result: CellResult, metric: str, name: str) -> float | None:
    found = result.latencies.get(metric)
    return found.quantiles[name] if found else None


def _spread(found: Distribution) -> dict[str, Any]:
    return {
        "n": found.n,
        "requests": found.requests,
        "mean": found.mean,
        "min": found.low,
        **found.quantiles,
        "max": found.high,
    }
