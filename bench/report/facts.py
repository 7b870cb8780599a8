"""What a report says beside its numbers: where, with what, and how it was measured."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.report import gates, numerals
from quantswarm.bench.report.beside import watched
from quantswarm.bench.report.where import host_words, matrix_words
from quantswarm.bench.slo import Slo

Pairs = list[tuple[str, str]]


def header(summary: Mapping[str, Any]) -> Pairs:
    """Run, model, date, host and versions, as name and text; unknown ones are "n/a"."""
    models = sorted({str(cell["model"]) for cell in summary["cells"]})
    return [
        ("run", str(summary["run_id"])),
        ("model", ", ".join(models)),
        ("started", str(summary["started_utc"] or numerals.NA)),
        ("matrix", matrix_words(summary["matrix"])),
        ("host", host_words(summary["host"])),
        ("versions", _flat(summary["versions"])),
    ]


def method(cells: Sequence[Mapping[str, Any]]) -> Pairs:
    """Scenario, windows and placement; each distinct value with its number of cells."""
    return [
        ("scenario", _distinct(cells, "scenario")),
        ("scenario hash", _distinct(cells, "scenario_hash")),
        ("measured window", _windows(cells)),
        ("placement", _distinct(cells, "placement")),
    ]


def details(cell: Mapping[str, Any]) -> Pairs:
    """All that is known of one cell and not in the table, as name and text."""
    rates = cell["rates"]
    return [
        ("command", shlex.join(cell["argv"]) if cell.get("argv") else numerals.NA),
        ("environment", _flat(cell.get("env"))),
        ("why so", _flat(cell.get("reasons"))),
        ("kernels", ", ".join(cell.get("kernels") or []) or numerals.NA),
        ("key-value cache", _cache(cell)),
        ("versions", _flat(cell.get("versions"))),
        ("weights sha256", str(cell.get("artefact_sha256") or numerals.NA)),
        ("validity gates", gates.line(cell)),
        ("failures by class", _flat(cell["failures_by_class"]) if _counted(cell) else numerals.NA),
        ("failures outside the window", _outside(cell)),
        *_objectives(cell),
        ("concurrency achieved", numerals.plain(rates.get("concurrency"))),
        ("prefill / decode at 1 user", _speeds(rates, "prefill_rate", "decode_rate")),
        ("by the server's clock", _speeds(rates, "server_prefill_rate", "server_decode_rate")),
        ("connections reused", numerals.share(rates.get("conn_reused_share"))),
        ("coalesced events", numerals.share(rates.get("coalesced_share"))),
        ("cached prompt tokens", numerals.share(rates.get("cached_share"))),
        *watched(cell),
        ("load generator", _flat(cell.get("harness"))),
    ]


def latency_rows(cell: Mapping[str, Any]) -> list[list[str]]:
    """Name, n, mean and percentiles of every latency of a cell, as texts."""
    rows = []
    for name, spread in cell["latencies_ms"].items():
        found = [numerals.plain(spread["mean"])]
        found += [numerals.plain(spread[q]) for q in ("p50", "p90", "p95", "p99", "p999", "max")]
        rows.append([name, f"{spread['n']:,}", *found])
    return rows


LATENCY_HEAD = ("ms", "n", "mean", "p50", "p90", "p95", "p99", "p99.9", "max")


def _cache(cell: Mapping[str, Any]) -> str:
    dtype, tokens = cell.get("kv_cache_dtype"), cell.get("kv_cache_tokens")
    if dtype is None and tokens is None:
        return numerals.NA
    return f"{dtype or numerals.NA}, room for {numerals.whole(tokens)} tokens"


def _counted(cell: Mapping[str, Any]) -> bool:
    return cell["requests"] is not None


def _outside(cell: Mapping[str, Any]) -> str:
    return _flat(cell["failures_outside_window"], empty="none") if _counted(cell) else numerals.NA


def _objectives(cell: Mapping[str, Any]) -> Pairs:
    """What was promised and how often it was kept; nothing where nothing was promised."""
    found = cell.get("slo")
    if not found:
        return []
    alone = [
        f"{name.upper()} {numerals.share(cell['rates'][f'slo_attainment_{name}'])}"
        for name in Slo(**found["slo"]).limits
    ]
    told = f"met by {found['met']:,} of {found['begun']:,} requests {found['of']}"
    interval = f"95 % interval {found['low']:.2%} to {found['high']:.2%}"
    return [("objectives", f"{Slo(**found['slo'])}; {'; '.join([told, interval, *alone])}")]


def _speeds(rates: Mapping[str, float | None], prefill: str, decode: str) -> str:
    values = rates.get(prefill), rates.get(decode)
    if values == (None, None):
        return numerals.NA
    return f"{numerals.plain(values[0])} / {numerals.plain(values[1])} tok/s"


def _windows(cells: Sequence[Mapping[str, Any]]) -> str:
    lengths = [cell["window_s"] for cell in cells if cell["window_s"] is not None]
    if not lengths:
        return numerals.NA
    low, high = numerals.plain(min(lengths)), numerals.plain(max(lengths))
    span = f"{low} s" if low == high else f"{low} to {high} s"
    return f"{span}; cut by intended start; warm-up and drain left out"


def _distinct(cells: Sequence[Mapping[str, Any]], key: str) -> str:
    texts = [_flat(cell.get(key)) for cell in cells if cell.get(key)]
    kinds = list(dict.fromkeys(texts))
    if len(kinds) <= 1:
        return kinds[0] if kinds else numerals.NA
    return " — ".join(f"{kind} ({texts.count(kind)} cells)" for kind in kinds)


def _flat(value: Any, *, empty: str = "none") -> str:
    """Nested facts on one line: key value, key value; lists joined, None as n/a."""
    if value is None:
        return numerals.NA
    if isinstance(value, Mapping):
        parts = [f"{key} {_inner(found)}" for key, found in value.items()]
        return ", ".join(parts) or empty
    return _inner(value) or empty


def _inner(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_flat(value)})"
    if isinstance(value, list | tuple):
        return " ".join(_inner(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return numerals.plain(value)
    return numerals.NA if value is None else str(value)
