"""The columns of the main table, declared once and read by every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.compare.entries import offered
from quantswarm.bench.judge.engine_view import ANSWERS
from quantswarm.bench.report import ceiling, numerals
from quantswarm.bench.report.compared import interval_text, ratio_text
from quantswarm.bench.report.quality import change, nats

Cell = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`head` and `unit` make the heading, `key` names the value in the summary's cell.

    `text` gives the printed value. Columns with a larger `drop` are left out first where room is
    short; those with 0 never are.
    """

    key: str
    head: str
    unit: str
    text: Callable[[Cell], str]
    numeric: bool = True
    drop: int = 0


def variant(cell: Cell) -> str:
    """Engine and quantization, and the label if it has one: what a reader chooses between."""
    label = cell.get("label")
    return f"{cell['engine']} {cell['quant']}{f' {label}' if label else ''}"


def samples(cell: Cell, metric: str) -> int | None:
    """Samples behind a latency, None where the cell has none of that metric."""
    found = cell["latencies_ms"].get(metric)
    return found["n"] if found else None


def shown(cell: Cell) -> bool:
    """Whether the numbers of a cell may stand in a comparison."""
    return bool(cell.get("compared", cell["status"] == "ok"))


def _plain(key: str) -> Callable[[Cell], str]:
    return lambda cell: numerals.plain(cell[key]) if shown(cell) else numerals.NA


def _rounds(row: Cell) -> str:
    """How many rounds stand behind a row, and of how many."""
    good, asked = row.get("rounds"), row.get("rounds_asked")
    return str(good) if good == asked else f"{good} of {asked}"


def _verdict(row: Cell) -> str:
    return str(row["against"]["verdict"]) if row.get("against") else numerals.NA


def _quantile(key: str, metric: str) -> Callable[[Cell], str]:
    def text(cell: Cell) -> str:
        return numerals.withheld(cell[key], samples(cell, metric)) if shown(cell) else numerals.NA

    return text


def _cached(cell: Cell) -> str:
    """Named where it is not the engine's own count, which is the better one."""
    if not shown(cell):
        return numerals.NA
    share = numerals.share(cell["prefix_hit_rate"])
    return f"{share} (answers)" if cell.get("prefix_hit_source") == ANSWERS else share


def attained(cell: Cell) -> str:
    """The share that met the objectives, with its interval in per cent."""
    slo = cell.get("slo")
    if not shown(cell) or not slo:
        return numerals.NA
    return f"{slo['met'] / slo['begun']:.2%} ({100 * slo['low']:.1f}–{100 * slo['high']:.1f})"


def _quality(key: str, shown_as: Callable[[Any], str]) -> Callable[[Cell], str]:
    """A value of the variant's quality, the same on each of its rows."""
    return lambda row: shown_as((row.get("quality") or {}).get(key))


COLUMNS: tuple[Column, ...] = (
    Column(key="model", head="model", unit="", text=lambda c: str(c["model"]), numeric=False),
    Column(key="engine", head="engine", unit="", text=lambda c: str(c["engine"]), numeric=False),
    Column(key="quant", head="quant", unit="", text=lambda c: str(c["quant"]), numeric=False),
    Column(
        key="label",
        head="variant",
        unit="",
        text=lambda c: str(c.get("label") or ""),
        numeric=False,
    ),
    Column(key="users", head="users", unit="", text=lambda c: offered(c) or str(c["users"])),
    Column(key="status", head="status", unit="", text=lambda c: str(c["status"]), numeric=False),
    Column(key="output_throughput", head="output", unit="tok/s", text=_plain("output_throughput")),
    Column(
        key=ceiling.KEY,
        head="of ceiling",
        unit="decode",
        text=lambda c: numerals.share(ceiling.share(c)) if shown(c) else numerals.NA,
        drop=2,
    ),
    Column(key="ratio", head="ratio", unit="output", text=lambda c: ratio_text(c.get("against"))),
    Column(
        key="interval", head="interval", unit="95 %", text=lambda c: interval_text(c.get("against"))
    ),
    Column(key="verdict", head="verdict", unit="", text=_verdict, numeric=False),
    Column(key="rounds", head="rounds", unit="", text=_rounds, drop=4),
    Column(
        key="request_throughput",
        head="requests",
        unit="req/s",
        text=_plain("request_throughput"),
        drop=8,
    ),
    Column(key="ttft_p50_ms", head="TTFT p50", unit="ms", text=_quantile("ttft_p50_ms", "ttft")),
    Column(
        key="ttft_p95_ms", head="TTFT p95", unit="ms", text=_quantile("ttft_p95_ms", "ttft"), drop=2
    ),
    Column(key="tpot_p50_ms", head="TPOT p50", unit="ms", text=_quantile("tpot_p50_ms", "tpot")),
    Column(
        key="itl_p99_ms", head="ITL p99", unit="ms", text=_quantile("itl_p99_ms", "itl"), drop=2
    ),
    Column(
        key="e2e_p50_ms", head="E2E p50", unit="ms", text=_quantile("e2e_p50_ms", "e2e"), drop=6
    ),
    Column(
        key="prefix_hit_rate",
        head="cached",
        unit="prompt",
        text=_cached,
        drop=1,
    ),
    Column(key="goodput", head="goodput", unit="req/s", text=_plain("goodput"), drop=1),
    Column(key="slo_attainment", head="in SLO", unit="95 %", text=attained),
    Column(
        key="perplexity",
        head="perplexity",
        unit="tokens",
        text=_quality("perplexity", lambda value: numerals.plain(value, digits=4)),
        drop=1,
    ),
    Column(
        key="perplexity_ratio",
        head="Δ perplexity",
        unit="95 %",
        text=lambda row: change(row.get("quality") or {}),
        drop=1,
    ),
    Column(key="kl_mean", head="KL", unit="nats", text=_quality("kl_mean", nats), drop=3),
    Column(
        key="top1_agreement",
        head="top-1",
        unit="agree",
        text=_quality("top1_agreement", numerals.share),
        drop=4,
    ),
    Column(
        key="requests", head="sent", unit="", text=lambda c: numerals.whole(c["requests"]), drop=3
    ),
    Column(key="failures", head="failed", unit="", text=lambda c: numerals.whole(c["failures"])),
    Column(
        key="rss_peak_bytes",
        head="memory",
        unit="peak",
        text=lambda c: numerals.megabytes(c["rss_peak_bytes"]),
        drop=4,
    ),
    Column(
        key="weights_bytes",
        head="weights",
        unit="disk",
        text=lambda c: numerals.megabytes(c["weights_bytes"]),
        drop=7,
    ),
    Column(
        key="load_s", head="load", unit="time", text=lambda c: numerals.seconds(c["load_s"]), drop=5
    ),
)


def columns_for(cells: list[dict[str, Any]]) -> tuple[Column, ...]:
    """All columns, but the model's where every cell has the same, and those of objectives, labels,
    rounds, ratios, ceilings and quality where there are none."""
    idle = set()
    if len({cell["model"] for cell in cells}) <= 1:
        idle.add("model")
    if not any(cell.get("slo") for cell in cells):
        idle |= {"goodput", "slo_attainment"}
    if not any(cell.get("label") for cell in cells):
        idle.add("label")
    if not any(cell.get("rounds") for cell in cells):
        idle.add("rounds")
    if all(ceiling.share(cell) is None for cell in cells):
        idle.add(ceiling.KEY)
    if not any(cell.get("against") for cell in cells):
        idle |= {"ratio", "interval", "verdict"}
    if not any(cell.get("quality") for cell in cells):
        idle |= {"perplexity", "perplexity_ratio", "kl_mean", "top1_agreement"}
    return tuple(column for column in COLUMNS if column.key not in idle)
