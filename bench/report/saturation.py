"""The search for saturation as readers see it: an answer, a row a trial, attainment over rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quantswarm.bench.report import numerals
from quantswarm.bench.report.columns import attained, samples
from quantswarm.bench.report.svg import MARKS, SERIES, drawing_style, inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Summary = Mapping[str, Any]
Cell = Mapping[str, Any]

TITLE = "Attainment over the rate offered"
READING = (
    "A mark is a trial; its line is the 95 % interval. The dashed line is the share that is to be "
    "met; a cross failed, by its share or since its backlog grew."
)
HEAD = ("offered", "achieved", "in SLO", "TTFT p99", "TPOT p99", "E2E p99", "verdict")
UNITS = ("req/s", "req/s", "95 %", "ms", "ms", "ms", "")
WIDTH_IN, HEIGHT_IN = 5.0, 3.2


def sentences(summary: Summary) -> list[str]:
    """The answer, what it rests on, and what broke the search off where something did."""
    found = summary["saturation"]
    told = found["conclusion"]
    broken = [f"Broken off: {found['ended'].splitlines()[0]}."] if found["ended"] else []
    certificate = str(told["certificate"])
    return [told["sentence"], f"{certificate[0].upper()}{certificate[1:]}.", *broken]


def rows(summary: Summary) -> list[list[str]]:
    """One row a trial, by rate, as `HEAD` names its columns."""
    return [_row(cell, trial) for cell, trial in _trials(summary)]


def plot(summary: Summary) -> str:
    """The drawing as an SVG element."""
    from matplotlib.figure import Figure

    with drawing_style():
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        axes = figure.add_subplot()
        share = summary["saturation"]["settings"]["share"]
        for cell, trial in _trials(summary):
            _mark(axes, cell, passes=trial["verdict"] == "passes")
        axes.axhline(100 * share, color=SERIES[1], linestyle="--", linewidth=1)
        axes.set_xlabel("rate offered, req/s")
        axes.set_ylabel("met every objective, %")
        axes.margins(0.1)
        axes.set_xlim(left=0)
        return inline(figure, name="saturation", description=f"{TITLE}. {READING}")


def _trials(summary: Summary) -> list[tuple[Cell, Mapping[str, Any]]]:
    known = {cell["cell"]: cell for cell in summary["cells"]}
    trials: Sequence[Mapping[str, Any]] = summary["saturation"]["trials"]
    return [(known[t["cell"]], t) for t in sorted(trials, key=lambda trial: trial["rate"])]


def _row(cell: Cell, trial: Mapping[str, Any]) -> list[str]:
    return [
        f"{trial['rate']:g}",
        numerals.plain(cell["rates"].get("achieved_rate")),
        attained(cell),
        *(_p99(cell, metric) for metric in ("ttft", "tpot", "e2e")),
        str(trial["verdict"]),
    ]


def _p99(cell: Cell, metric: str) -> str:
    spread = cell["latencies_ms"].get(metric)
    return numerals.withheld(spread["p99"] if spread else None, samples(cell, metric))


def _mark(axes: Axes, cell: Cell, *, passes: bool) -> None:
    slo, rate = cell["slo"], cell["arrivals"]["rate"]
    if not slo:
        return
    colour = SERIES[0 if passes else 3]
    axes.plot([rate, rate], [100 * slo["low"], 100 * slo["high"]], color=colour, linewidth=1)
    mark = MARKS[0] if passes else "x"
    axes.plot([rate], [100 * slo["met"] / slo["begun"]], color=colour, marker=mark, markersize=6)
