"""The decision drawn: the Pareto front of throughput, quality and memory, and leads over users."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quantswarm.bench.decide.quantities import QUANTITIES
from quantswarm.bench.report.plots import SPOKEN, Plot
from quantswarm.bench.report.svg import MUTED, SERIES, drawing_style, inline, mark_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Decision = Mapping[str, Any]
Row = Mapping[str, Any]

WIDTH_IN = 5.0
LARGEST, SMALLEST = 260.0, 25.0
"""Areas of marks, in square points."""
LINES = ("-", "--", ":", "-.")
LEAD = "Throughput beside the baseline over the users"


def decision_plots(decision: Decision) -> list[Plot]:
    """Pareto plots of the lightest and the heaviest load of each model, then the leads."""
    with drawing_style():
        return [*_fronts(decision), *_leads(decision)]


def _fronts(decision: Decision) -> Iterator[Plot]:
    for number, front in enumerate(_ends(decision["fronts"]), start=1):
        rows = [
            row
            for row in decision["rows"]
            if (row["load"], row["model"]) == (front["load"], front["model"])
            and row["variant"] not in {out["variant"] for out in front["left_out"]}
        ]
        for axis in front["axes"][:0:-1]:
            yield _front(decision, front, rows, axis, f"pareto{number}-{axis}")


def _ends(fronts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first and the last load of each model."""
    models = dict.fromkeys(front["model"] for front in fronts)
    found = []
    for model in models:
        mine = [front for front in fronts if front["model"] == model]
        found += [mine[0], *mine[-1:]][: min(len(mine), 2)]
    return found


def _front(
    decision: Decision, front: Mapping[str, Any], rows: Sequence[Row], axis: str, name: str
) -> Plot:
    """Throughput against one other axis; where it is quality, a mark's area is the memory."""
    memory = front["axes"][1]
    sized = axis != memory
    figure, axes = _figure(len(rows))
    for row in rows:
        style = _style(decision, row["variant"])
        area = _area(row, rows, memory) if sized else 60.0
        filled = row["variant"] in front["on"]
        axes.scatter(
            [row["values"][front["axes"][0]]],
            [row["values"][axis]],
            s=area,
            marker=style["marker"],
            facecolors=style["color"] if filled else "none",
            edgecolors=style["color"],
            linewidths=1.5,
        )
    axes.set_xlabel("output throughput, tok/s")
    axes.set_ylabel(f"{QUANTITIES[axis].title}, {QUANTITIES[axis].unit}")
    axes.margins(0.15)
    axes.set_xlim(left=0)
    if not sized:
        axes.set_ylim(0, 1.15 * max(row["values"][axis] for row in rows) or 1)
    _legend(figure, decision, [row["variant"] for row in rows])
    title = f"Throughput against {QUANTITIES[axis].title}, {front['load']}"
    size = "; a larger mark takes more memory" if sized else ""
    reading = f"Filled marks are on the Pareto front{size}. Right and low is better."
    svg = inline(figure, name=name, description=f"{title}. {SPOKEN}")
    return Plot(title=title, reading=reading, svg=svg)


def _area(row: Row, rows: Sequence[Row], memory: str) -> float:
    most: float = max(other["values"][memory] for other in rows)
    return max(SMALLEST, LARGEST * float(row["values"][memory]) / most)


def _leads(decision: Decision) -> Iterator[Plot]:
    """Only where a variant was measured beside the baseline at two loads or more."""
    models = dict.fromkeys(lead["model"] for lead in decision["leads"])
    for number, model in enumerate(models, start=1):
        drawn = [
            lead
            for lead in decision["leads"]
            if lead["model"] == model
            and lead["against"] == decision["baseline"]
            and len(lead["steps"]) > 1
        ]
        if drawn:
            yield _lead_plot(decision, drawn, f"lead{number}")


def _lead_plot(decision: Decision, drawn: Sequence[Mapping[str, Any]], name: str) -> Plot:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure, axes = _figure(len(drawn))
    loads = sorted({step["load"] for lead in drawn for step in lead["steps"]})
    for place, lead in enumerate(drawn):
        _line(axes, lead, _style(decision, lead["variant"]), (place - (len(drawn) - 1) / 2) * 0.012)
    axes.axhline(1, color=MUTED, linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(loads))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("users")
    axes.set_ylabel(f"output / {decision['baseline']}")
    axes.margins(0.08)
    axes.set_ylim(bottom=0)
    _legend(figure, decision, [lead["variant"] for lead in drawn], _kernels(drawn))
    reading = (
        "Under the line a variant is slower than the baseline. Bars are 95 % intervals; a hollow "
        "mark is no difference. The names of kernels are in brackets."
    )
    svg = inline(figure, name=name, description=f"{LEAD}. {SPOKEN}")
    return Plot(title=LEAD, reading=reading, svg=svg)


def _line(axes: Axes, lead: Mapping[str, Any], style: Mapping[str, Any], shift: float) -> None:
    """One variant; `shift` parts marks of the same load, in decades."""
    x = [step["load"] * 10**shift for step in lead["steps"]]
    axes.plot(
        x,
        [step["ratio"] for step in lead["steps"]],
        color=style["color"],
        linestyle=style["linestyle"],
    )
    for at, step in zip(x, lead["steps"], strict=True):
        if step["low"] is not None:
            axes.plot([at, at], [step["low"], step["high"]], color=style["color"], linewidth=1)
        differs = step["verdict"] in ("better", "worse")
        axes.scatter(
            [at],
            [step["ratio"]],
            s=45,
            marker=style["marker"],
            facecolors=style["color"] if differs else "none",
            edgecolors=style["color"],
            linewidths=1.5,
            zorder=3,
        )


def _figure(entries: int) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    height_in = 3.4 + 0.2 * math.ceil(entries / 2)
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.add_subplot()


def _style(decision: Decision, variant: str) -> dict[str, Any]:
    """The same colour, mark and line for a variant in every plot."""
    names = list(dict.fromkeys(row["variant"] for row in decision["rows"]))
    index = sorted(names).index(variant)
    return {
        "color": SERIES[index % 8],
        "marker": mark_of(index),
        "linestyle": LINES[index // 8 % 4],
    }


def _kernels(drawn: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {lead["variant"]: f"{lead['variant']} ({lead['kernel'] or 'n/a'})" for lead in drawn}


def _legend(
    figure: Figure,
    decision: Decision,
    variants: Sequence[str],
    labels: Mapping[str, str] | None = None,
) -> None:
    from matplotlib.lines import Line2D

    names = labels or {name: name for name in variants}
    handles = [
        Line2D([], [], label=names[name], **_style(decision, name))
        for name in dict.fromkeys(variants)
    ]
    columns = 1 if labels else 2
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)
