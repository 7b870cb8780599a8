"""Footprints drawn: bytes by component, and memory after load with a line of time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quantswarm.bench.compare.entries import variant_of
from quantswarm.bench.report import numerals
from quantswarm.bench.report.columns import shown
from quantswarm.bench.report.footprint import PARTS, Taken, taken
from quantswarm.bench.report.plots import ROW_IN, SPOKEN, WIDTH_IN, Plot
from quantswarm.bench.report.svg import INK, SERIES, drawing_style, inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MB = 1e6
COMPONENTS = "Size by component"
MEMORY = "Memory after load, with a line of time"
_HATCH = "////"


def footprint_plots(summary: Mapping[str, Any]) -> list[Plot]:
    """Of each model the two, where there is anything to draw."""
    with drawing_style():
        return list(_drawn(summary))


def _drawn(summary: Mapping[str, Any]) -> Iterator[Plot]:
    found = taken(summary)
    models = list(dict.fromkeys(one.model for one in found))
    for number, model in enumerate(models, start=1):
        of = f" of {model}" if len(models) > 1 else ""
        mine = [one for one in found if one.model == model]
        if known := [one for one in mine if one.parts]:
            yield _components(known, of, f"footprint{number}-components")
        if known := [one for one in mine if one.memory_bytes is not None]:
            times = _times(summary, model)
            yield _memory(known, times, of, f"footprint{number}-memory")


def _components(found: Sequence[Taken], of: str, name: str) -> Plot:
    """One bar a variant, stacked by part."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, 2 * ROW_IN * len(found) + 1.1), layout="constrained")
    axes = figure.add_subplot()
    for y, one in enumerate(found):
        total = _stacked(axes, y, one)
        text = numerals.megabytes(total)
        axes.annotate(
            text, (total / MB, y), (4, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.set_yticks(range(len(found)), [one.title for one in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.16)
    axes.set_xlim(left=0)
    axes.set_xlabel("MB")
    _legend(figure, found)
    title = f"{COMPONENTS}{of}"
    return Plot(
        title=title,
        reading="Bytes on disk, unless it says as loaded. Hatched parts of a quantized variant are "
        "not quantized.",
        svg=inline(figure, name=name, description=f"{title}. {SPOKEN}"),
    )


def _stacked(axes: Axes, y: int, one: Taken) -> float:
    """Draws the bar; its length in bytes."""
    quantized = any(not part["plain"] and part["parameters"] for part in one.parts)
    at = 0.0
    for index, part in enumerate(PARTS):
        for entry in (entry for entry in one.parts if entry["part"] == part):
            axes.barh(
                y,
                entry["bytes"] / MB,
                left=at / MB,
                height=0.7,
                facecolor=SERIES[index],
                edgecolor=INK,
                linewidth=0,
                hatch=_HATCH if quantized and entry["plain"] else None,
            )
            at += entry["bytes"]
    return at


def _legend(figure: Figure, found: Sequence[Taken]) -> None:
    from matplotlib.patches import Patch

    here = {part["part"] for one in found for part in one.parts}
    handles = [
        Patch(facecolor=SERIES[index], label=title)
        for index, (part, title) in enumerate(PARTS.items())
        if part in here
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)


def _times(summary: Mapping[str, Any], model: str) -> dict[str, float]:
    """Variant → seconds of a request, the median over rounds of E2E p50 at one user."""
    found: dict[str, list[float]] = {}
    for cell in summary["cells"]:
        known = cell["e2e_p50_ms"] is not None and shown(cell) and cell.get("phases")
        if known and cell["model"] == model:
            found.setdefault(variant_of(cell), []).append(cell["e2e_p50_ms"] / 1e3)
    return {name: statistics.median(values) for name, values in found.items()}


def _memory(found: Sequence[Taken], times: Mapping[str, float], of: str, name: str) -> Plot:
    """Bars of memory; the line is the time of a request of one user alone, where it is known."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, 4.2), layout="constrained")
    axes = figure.add_subplot()
    sizes = [(one.memory_bytes or 0.0) / MB for one in found]
    axes.bar(range(len(found)), sizes, width=0.62, color=SERIES[0])
    labels = [f"{one.name}\n{_numbers(one, times)}" for one in found]
    axes.set_xticks(range(len(found)), labels, rotation=40, ha="right", fontsize=8)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("memory after load, MB")
    axes.set_ylim(0, 1.15 * max(sizes) or 1)
    drawn = [times.get(one.name) for one in found]
    if any(drawn):
        _line(axes, drawn)
    title = f"{MEMORY}{of}"
    on_gpus = any(one.values["gpu_after_load_bytes"] is not None for one in found)
    where = "on the GPUs where they tell, else resident" if on_gpus else "resident (RSS)"
    line = "; the line is the median time of a request at 1 user" if any(drawn) else ""
    return Plot(
        title=title,
        reading=f"Bars: memory {where}{line}. Lower is better for both.",
        svg=inline(figure, name=name, description=f"{title}. {SPOKEN}"),
    )


def _line(axes: Axes, drawn: Sequence[float | None]) -> None:
    """The line is broken where a variant has no time."""
    beside = axes.twinx()
    y = [math.nan if value is None else value for value in drawn]
    beside.plot(range(len(y)), y, color=SERIES[1], marker="o", markersize=7, linewidth=2)
    beside.set_ylim(0, 1.15 * max(value for value in drawn if value is not None))
    beside.grid(visible=False)
    beside.set_ylabel("time of a request, s", color=SERIES[1])


def _numbers(one: Taken, times: Mapping[str, float]) -> str:
    """Both under the variant's name: beside the marks they would cover one another."""
    size = numerals.megabytes(one.memory_bytes)
    return f"{size}, {numerals.plain(times[one.name])} s" if one.name in times else size
