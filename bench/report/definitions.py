"""The metric declarations as Markdown: the tables of docs/metrics.md and the reports' foot."""

from __future__ import annotations

from quantswarm.bench.judge.footprint import FOOTPRINT
from quantswarm.bench.judge.latency import LATENCIES
from quantswarm.bench.judge.metric import Metric
from quantswarm.bench.judge.percentile import QUANTILES, requests_needed, samples_needed
from quantswarm.bench.judge.phases import PHASES
from quantswarm.bench.judge.rate import RATES

METRICS: tuple[Metric, ...] = (*LATENCIES, *RATES, *FOOTPRINT, *PHASES)


def formulas() -> str:
    """Every metric with unit, formula and direction, as a Markdown table."""
    rows = [
        [f"`{m.name}`", m.title, m.unit, f"`{m.formula}`", _direction(m), ", ".join(m.needs)]
        for m in METRICS
    ]
    return _table(["in code", "term", "unit", "formula", "better", "needs"], rows)


def elsewhere() -> str:
    """What other tools call the same quantities, as a Markdown table."""
    tools = list(dict.fromkeys(tool for metric in METRICS for tool in metric.elsewhere))
    rows = [
        [f"`{m.name}`", *(m.elsewhere.get(tool, "") for tool in tools)]
        for m in METRICS
        if m.elsewhere
    ]
    return _table(["here", *tools], rows)


def minimums() -> str:
    """The samples and requests each percentile needs, as a Markdown table."""
    rows = [
        [_percentile(name), *(f"{n:,}" for n in (samples_needed(q),) * 2 + (requests_needed(q),))]
        for name, q in QUANTILES.items()
    ]
    head = ["percentile", "requests, for a metric of requests", "tokens, for ITL and ICL"]
    return _table([*head, "and requests behind them"], rows)


def _percentile(name: str) -> str:
    return "p99.9" if name == "p999" else name


def _direction(metric: Metric) -> str:
    if metric.larger_is_better is None:
        return "a fact"
    return "larger" if metric.larger_is_better else "smaller"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
