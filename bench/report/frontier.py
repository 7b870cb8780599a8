"""Throughput against latency: one line a variant through its loads, from light to heavy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quantswarm.bench.compare.entries import load_order
from quantswarm.bench.report.columns import shown, variant
from quantswarm.bench.report.svg import SERIES, mark_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Cells = Sequence[Mapping[str, Any]]

WIDTH_IN = 5.0
LINES = ("-", "--", ":", "-.")


def frontier(cells: Cells) -> Figure:
    """Output throughput against the median TPOT; variants without a valid cell are left out."""
    from matplotlib.figure import Figure

    variants = list(dict.fromkeys(variant(cell) for cell in cells))
    height_in = 3.6 + 0.2 * ((len(variants) + 1) // 2)
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    axes = figure.add_subplot()
    for index, name in enumerate(variants):
        _line(axes, list(_points(cells, name)), name, index)
    axes.set_xlabel("output throughput, tok/s")
    axes.set_ylabel("TPOT p50, ms")
    axes.margins(0.1)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    if axes.lines:
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _points(cells: Cells, name: str) -> Iterator[tuple[float, float, str]]:
    for cell in sorted(cells, key=load_order):
        x, y = cell["output_throughput"], cell["tpot_p50_ms"]
        if variant(cell) == name and shown(cell) and x is not None and y is not None:
            yield x, y, _mark(cell)


def _mark(cell: Mapping[str, Any]) -> str:
    """The number of users, or the rate of an open loop; of a trace, that it is one."""
    users, rate, words = load_order(cell)
    return f"{rate:g}/s" if rate else words or str(users)


def _line(axes: Axes, points: list[tuple[float, float, str]], name: str, index: int) -> None:
    if not points:
        return
    x, y, loads = zip(*points, strict=True)
    colour, mark = SERIES[index % 8], mark_of(index)
    style = LINES[index // 8 % 4]
    axes.plot(x, y, color=colour, marker=mark, markersize=7, linestyle=style, label=name)
    for at_x, at_y, load in zip(x, y, loads, strict=True):
        axes.annotate(load, (at_x, at_y), (-11, 4), textcoords="offset points", fontsize=9)
