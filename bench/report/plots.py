"""The plots of the page. Every variant keeps its place in all; what is not known is said."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantswarm.bench.compare.entries import load_order, load_words
from quantswarm.bench.report import numerals
from quantswarm.bench.report.columns import shown, variant
from quantswarm.bench.report.frontier import frontier
from quantswarm.bench.report.svg import MARKS, MUTED, SERIES, drawing_style, inline, mark_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Cell = Mapping[str, Any]
Cells = Sequence[Cell]

WIDTH_IN = 5.0
ROW_IN = 0.21
MOST_IN_A_ROW = 4
FRONTIER = "Throughput against latency"
SPOKEN = "The table of results holds the numbers."


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One drawn plot: a heading, one sentence on how to read it, and the SVG element."""

    title: str
    reading: str
    svg: str


def plots(cells: Cells, *, prefix: str = "p") -> list[Plot]:
    """All plots of cells of one model, in the order of the page; `prefix` keeps the ids inside
    the drawings apart from those of another call's."""
    with drawing_style():
        return list(_drawn(cells, prefix))


def _drawn(cells: Cells, prefix: str) -> Iterator[Plot]:
    yield _plot(
        cells,
        f"{prefix}-throughput",
        "Output throughput",
        "Tokens a second that arrived inside the window. Longer is better.",
        lambda axes: _bars(axes, cells, "output_throughput", "tok/s", numerals.plain),
    )
    for metric, title in (
        ("ttft", "Time to first token"),
        ("tpot", "Time per output token"),
        ("itl", "Inter-token latency"),
    ):
        yield _plot(
            cells,
            f"{prefix}-{metric}",
            f"{title} ({metric.upper()})",
            "Mark: median; line: up to p95, where enough samples stand behind it. "
            "Further left is better.",
            functools.partial(_ranges, cells=cells, metric=metric),
        )
    yield Plot(
        title=FRONTIER,
        reading="The figure at a mark is the number of users, or the rate offered (/s). "
        "Right and low is better.",
        svg=inline(frontier(cells), name=f"{prefix}-frontier", description=f"{FRONTIER}. {SPOKEN}"),
    )
    yield _plot(
        cells,
        f"{prefix}-memory",
        "Peak memory of the server",
        "Resident memory of the whole process tree, at its highest. Shorter is better.",
        lambda axes: _bars(axes, cells, "rss_peak_bytes", "MB", _megabytes, scale=1e6, all_=True),
    )
    for key, title, unit, scale in (
        ("load_s", "Load time", "s", 1.0),
        ("weights_bytes", "Weights on disk", "MB", 1e6),
    ):
        yield _once(cells, prefix, key, title, unit, scale)


def _megabytes(value: float) -> str:
    return numerals.megabytes(value * 1e6)


def _variants(cells: Cells) -> list[str]:
    return list(dict.fromkeys(variant(cell) for cell in cells))


def _levels(cells: Cells) -> list[str]:
    """The loads in words, from light to heavy."""
    return [
        load_words(cell)
        for cell in {load_order(c): c for c in sorted(cells, key=load_order)}.values()
    ]


def _find(cells: Cells, name: str, load: str) -> Cell | None:
    return next((c for c in cells if variant(c) == name and load_words(c) == load), None)


def _plot(cells: Cells, name: str, title: str, reading: str, draw: Callable[[Axes], None]) -> Plot:
    """A plot with one band a variant and, in it, one row a load."""
    from matplotlib.figure import Figure

    variants, levels = _variants(cells), _levels(cells)
    rows = len(variants) * (len(levels) + 0.8)
    figure = Figure(figsize=(WIDTH_IN, ROW_IN * rows + 0.85), layout="constrained")
    axes = figure.add_subplot()
    draw(axes)
    axes.set_yticks([_middle(i, levels) for i in range(len(variants))], variants)
    axes.set_ylim(_middle(len(variants), levels) - 0.5 * len(levels) - 0.1, -0.9)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(left=0)
    if len(levels) > 1:
        _legend(axes, levels)
    svg = inline(figure, name=name, description=f"{title}. {SPOKEN}")
    return Plot(title=title, reading=reading, svg=svg)


def _row(band: int, level: int, levels: Sequence[str]) -> float:
    return band * (len(levels) + 0.8) + level


def _middle(band: int, levels: Sequence[str]) -> float:
    return _row(band, 0, levels) + (len(levels) - 1) / 2


def _legend(axes: Axes, levels: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=SERIES[i % 8], marker=MARKS[i % 8], linestyle="none", label=load)
        for i, load in enumerate(levels)
    ]
    axes.figure.legend(
        handles=handles,
        loc="outside upper right",
        ncols=min(len(levels), MOST_IN_A_ROW),
        handletextpad=0.1,
    )


def _each(cells: Cells) -> Iterator[tuple[float, int, Cell | None]]:
    """Every place of a plot with bands: its height, the number of its level, and its cell."""
    levels = _levels(cells)
    for band, name in enumerate(_variants(cells)):
        for index, load in enumerate(levels):
            yield _row(band, index, levels), index, _find(cells, name, load)


def _missing(axes: Axes, y: float, cell: Cell | None) -> None:
    text = numerals.NA if cell is None or shown(cell) else cell["status"]
    axes.annotate(text, (0, y), (4, 0), textcoords="offset points", va="center", color=MUTED)


def _bars(
    axes: Axes,
    cells: Cells,
    key: str,
    unit: str,
    text: Callable[[float], str],
    *,
    scale: float = 1.0,
    all_: bool = False,
) -> None:
    """One bar a cell; `all_` draws those of cells that are not ok too."""
    for y, index, cell in _each(cells):
        value = cell[key] if cell and (all_ or shown(cell)) else None
        if value is None:
            _missing(axes, y, cell)
            continue
        axes.barh(y, value / scale, height=0.82, color=SERIES[index % 8])
        _value(axes, value / scale, y, text(value / scale))
    axes.margins(x=0.16)
    axes.set_xlabel(unit)


def _value(axes: Axes, x: float, y: float, text: str, *, gap: float = 4) -> None:
    axes.annotate(text, (x, y), (gap, 0), textcoords="offset points", va="center", fontsize=9)


def _ranges(axes: Axes, cells: Cells, metric: str) -> None:
    for y, index, cell in _each(cells):
        spread = cell["latencies_ms"].get(metric) if cell and shown(cell) else None
        if spread is None or spread["p50"] is None:
            _missing(axes, y, cell)
            continue
        colour, far = SERIES[index % 8], spread["p95"]
        if far is not None:
            axes.plot([spread["p50"], far], [y, y], color=colour, linewidth=3)
            axes.plot([far], [y], color=colour, marker="|", markersize=9, markeredgewidth=2)
        axes.plot([spread["p50"]], [y], color=colour, marker=mark_of(index), markersize=6)
        _value(axes, far or spread["p50"], y, _span(spread["p50"], far), gap=8)
    axes.margins(x=0.24)
    axes.set_xlabel("ms")


def _span(median: float, far: float | None) -> str:
    return numerals.plain(median) + ("" if far is None else f" – {numerals.plain(far)}")


def _once(cells: Cells, prefix: str, key: str, title: str, unit: str, scale: float) -> Plot:
    """A quantity of a variant, not of a load: the median over its cells, one bar a variant."""
    merged = []
    for name in _variants(cells):
        mine = [cell for cell in cells if variant(cell) == name]
        known = [cell[key] for cell in mine if cell[key] is not None]
        merged.append(
            {
                **mine[0],
                "users": 0,
                "arrivals": None,
                key: statistics.median(known) if known else None,
            }
        )
    return _plot(
        merged,
        f"{prefix}-{key}",
        title,
        "Median over the cells of a variant. Shorter is better.",
        lambda axes: _bars(
            axes, merged, key, unit, lambda v: f"{numerals.plain(v)} {unit}", scale=scale, all_=True
        ),
    )
