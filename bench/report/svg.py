"""Matplotlib figures as SVG to be placed inside a page: text stays text, colours follow the page.

Figures are drawn in stand-in colours, which become CSS variables here, so that one drawing serves
light and dark. Nothing in the result refers to anything outside it.
"""

from __future__ import annotations

import html
import io
import re
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010101"
MUTED = "#020202"
GRID = "#030303"
MARKS = "osD^vPX*"
SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005", "#0a0006", "#0a0007", "#0a0008")

_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)"} | {
    colour: f"var(--s{number})" for number, colour in enumerate(SERIES, start=1)
}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "quantswarm",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}


def mark_of(index: int) -> str:
    """The mark of the variant of that number; colour and mark together are its own up to 64."""
    return MARKS[(index + index // len(SERIES)) % len(MARKS)]


def drawing_style() -> AbstractContextManager[None]:
    """The context in which figures for `inline` must be drawn; needs no display."""
    import matplotlib as mpl

    mpl.use("Agg")
    return mpl.rc_context(_STYLE)


def inline(figure: Figure, *, name: str, description: str) -> str:
    """The figure as an `<svg>` element for HTML; `name` keeps its ids apart from other figures'."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href=", "href=")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r"font-family: [^;]*;", "", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    label = html.escape(description, quote=True)
    opening = f'<svg role="img" aria-label="{label}"'
    return re.sub(r'<svg width="[^"]*" height="[^"]*"', opening, text, count=1)
