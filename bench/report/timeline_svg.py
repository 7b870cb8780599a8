"""A timeline as one small SVG element: rows above each other, one axis of seconds below.

Drawn here and not with Matplotlib: twenty of them must fit into a page of 1.5 MB, and a polyline
with one decimal a number takes a tenth of what Matplotlib writes.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quantswarm.bench.report.timeline import Curve, Row, Timeline, timeline

WIDTH = 720
LEFT, RIGHT = 58, 12
HEAD, PLOT, GAP, FOOT = 17, 54, 9, 30
_STEPS = (1, 2, 5, 10)
_LETTER = 5.6
"""About the width of a letter at 10 units; only the legend's spacing rests on it."""
_NAMED = 46
"""A shaded part narrower than this has no room for its name."""


def timelines(run_dir: Path, summary: Mapping[str, Any]) -> dict[str, str]:
    """The drawing of every cell of a run that has something to draw, by the cell's name."""
    names = [str(cell["cell"]) for cell in summary["cells"]]
    lines = {name: timeline(run_dir / "cells" / name) for name in names}
    return {name: timeline_svg(line, name=name) for name, line in lines.items() if line}


def timeline_svg(line: Timeline, *, name: str) -> str:
    """The `<svg>` element, in the page's colours; `name` says in its label which cell it is."""
    scale = _Scale(line)
    height = len(line.rows) * (HEAD + PLOT + GAP) + FOOT
    label = html.escape(
        f"{name} over time. The table of its latencies holds the numbers.", quote=True
    )
    parts = [
        f'<svg class="timeline" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {height}">',
        *(text for i, row in enumerate(line.rows) for text in _row(row, i, scale)),
        *_axis(line, scale, height - FOOT),
        "</svg>",
    ]
    return "\n".join(parts)


class _Scale:
    """From seconds to the drawing's horizontal units."""

    def __init__(self, line: Timeline) -> None:
        self.line = line
        self._per_s = (WIDTH - LEFT - RIGHT) / max(line.end_s - line.begin_s, 1e-9)

    def x(self, second: float) -> float:
        return LEFT + (second - self.line.begin_s) * self._per_s


def nice(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten that is not smaller; 1 for 0 and less."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _STEPS if step * power >= value * (1 - 1e-9))


def _top(highest: float) -> float:
    """The end of an axis: four, five or more even steps, the highest value not far below it."""
    step = nice(highest / 4)
    return step * max(math.ceil(highest / step - 1e-9), 1)


def _row(row: Row, index: int, scale: _Scale) -> Iterator[str]:
    top = index * (HEAD + PLOT + GAP) + HEAD
    bottom = top + PLOT
    most = _top(max(value for curve in row.curves for _, value in curve.points))
    yield from _shades(scale, top, named=index == 0)
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * PLOT
        yield f'<path class="g" d="M{LEFT} {y:g}H{WIDTH - RIGHT}"/>'
        if share != 0.5:
            text = f"{most * share:,.10g}"
            yield f'<text class="m" x="{LEFT - 6}" y="{y + 3.5:g}" text-anchor="end">{text}</text>'
    yield from _legend(row, top - 5)
    for number, curve in enumerate(row.curves, start=1):
        yield _polyline(curve, number, scale, bottom, PLOT / most)


def _shades(scale: _Scale, top: float, *, named: bool) -> Iterator[str]:
    line = scale.line
    for begin, end, name in ((line.begin_s, 0.0, "warm-up"), (line.window_s, line.end_s, "drain")):
        width = scale.x(end) - scale.x(begin)
        if width <= 0:
            continue
        x = scale.x(begin)
        yield f'<rect class="s" x="{x:.1f}" y="{top}" width="{width:.1f}" height="{PLOT}"/>'
        if named and width > _NAMED:
            x, y = x + width - 4, top + PLOT - 4
            yield f'<text class="m" x="{x:.1f}" y="{y}" text-anchor="end">{name}</text>'


def _legend(row: Row, y: float) -> Iterator[str]:
    head = f"{row.title} ({row.unit})" if row.unit else row.title
    yield f'<text x="{LEFT}" y="{y}">{html.escape(head)}</text>'
    x = LEFT + len(head) * _LETTER + 16
    for number, curve in enumerate(row.curves, start=1):
        colour = f"var(--s{(number - 1) % 8 + 1})"
        yield f'<path d="M{x:.1f} {y - 3.5}h12" stroke="{colour}" stroke-width="2"/>'
        yield f'<text class="m" x="{x + 16:.1f}" y="{y}">{html.escape(curve.label)}</text>'
        x += 16 + len(curve.label) * _LETTER + 14


def _polyline(curve: Curve, number: int, scale: _Scale, bottom: float, per_unit: float) -> str:
    points = " ".join(f"{scale.x(s):.1f},{bottom - v * per_unit:.1f}" for s, v in curve.points)
    return f'<polyline points="{points}" stroke="var(--s{(number - 1) % 8 + 1})"/>'


def _axis(line: Timeline, scale: _Scale, y: float) -> Iterator[str]:
    step = nice((line.end_s - line.begin_s) / 10)
    first, last = math.ceil(line.begin_s / step), math.floor(line.end_s / step)
    for place in range(first, last + 1):
        x = scale.x(place * step)
        text = f"{place * step:g}"
        yield f'<text class="m" x="{x:.1f}" y="{y + 6}" text-anchor="middle">{text}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield (
        f'<text class="m" x="{middle:g}" y="{y + 22}" text-anchor="middle">'
        "seconds from the start of the measurement window</text>"
    )
