"""Memory as bars with the time of an answer as a line across them: what precision gains in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.compare.entries import load_order, load_words, sound
from quantswarm.bench.report import numerals
from quantswarm.bench.report.columns import variant
from quantswarm.bench.report.plots import SPOKEN, WIDTH_IN, Plot
from quantswarm.bench.report.svg import INK, MUTED, SERIES, drawing_style, inline

Cell = Mapping[str, Any]
TITLE = "Memory and time"
_AFTER_LOAD, _PEAK = "memory after load", "peak memory"


def memory_time(rows: Sequence[Cell]) -> Plot | None:
    """Of the lightest load; None where fewer than two variants of one model tell both."""
    lightest = min(map(load_order, rows), default=None)
    drawn = [row for row in rows if load_order(row) == lightest and sound(row)]
    drawn = [row for row in drawn if row["e2e_p50_ms"] and row["rss_peak_bytes"]]
    if len(drawn) < 2 or len({row["model"] for row in drawn}) > 1:
        return None
    what, sizes = _memory(drawn)
    with drawing_style():
        svg = _svg(drawn, what, sizes)
    return Plot(
        title=TITLE,
        reading=f"Bars: {what} of the server's processes; line: median time of a whole answer, both"
        f" at {load_words(drawn[0])}. Lower is better.",
        svg=svg,
    )


def _memory(rows: Sequence[Cell]) -> tuple[str, list[float]]:
    """In bytes: after load where every variant tells it, else at the peak."""
    loaded = [(row.get("footprint") or {}).get("memory_after_load_bytes") for row in rows]
    if all(loaded):
        return _AFTER_LOAD, [float(size) for size in loaded if size]
    return _PEAK, [float(row["rss_peak_bytes"]) for row in rows]


def _svg(rows: Sequence[Cell], what: str, sizes: Sequence[float]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, 3.2), layout="constrained")
    bars = figure.add_subplot()
    places = range(len(rows))
    bars.bar(places, [size / 1e6 for size in sizes], width=0.6, color=SERIES[0])
    for place, size in zip(places, sizes, strict=True):
        bars.annotate(numerals.megabytes(size), (place, 0), (0, 4), **_BESIDE, color=INK)
    names = [variant(row).replace(" ", "\n", 1) for row in rows]
    bars.set_xticks(list(places), names, fontsize=9 if len(rows) < 5 else 7)
    bars.set_ylabel(f"{what}, MB")
    bars.grid(visible=False, axis="x")
    line = bars.twinx()
    times = [row["e2e_p50_ms"] / 1e3 for row in rows]
    line.plot(places, times, color=SERIES[1], marker="o", linewidth=2)
    for place, seconds in zip(places, times, strict=True):
        line.annotate(f"{numerals.plain(seconds)} s", (place, seconds), (0, 7), **_BESIDE)
    line.set_ylabel("time of an answer, s", color=MUTED)
    line.grid(visible=False)
    line.set_ylim(0, 1.25 * max(times))
    return inline(figure, name="memory-time", description=f"{TITLE}. {SPOKEN}")


_BESIDE: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 9}
