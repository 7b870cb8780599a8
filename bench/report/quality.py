"""A variant's quality beside its speed: found for a row, and put into words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from quantswarm.bench.judge.quality_files import quality_name
from quantswarm.bench.report import numerals

Document = Mapping[str, Any]


def quality_of(cell: Mapping[str, Any], summary: Mapping[str, Any]) -> Document | None:
    """The quality document of a cell's variant and model; None where it was not measured."""
    documents = summary.get("quality") or {}
    name = quality_name(documents, cell)
    found = documents.get(name) if name is not None else None
    return found if found is not None and found.get("perplexity") is not None else None


def change(found: Document) -> str:
    """Δ of perplexity in per cent, with its interval: "+3.1% (+2.6 to +3.7)"."""
    if found.get("perplexity_ratio") is None or not found.get("delta_nll_ci"):
        return numerals.NA
    middle, low, high = (percent(nll) for nll in (found["delta_nll"], *found["delta_nll_ci"]))
    return f"{signed(middle)}% ({signed(low)} to {signed(high)})"


def percent(delta_nll: float) -> float:
    """Change of perplexity, in per cent, that a difference of mean nll makes."""
    return 100 * math.expm1(delta_nll)


def signed(value: float) -> str:
    """Two digits behind the point under ten, one above; "0.00" without a sign."""
    text = f"{value:+.2f}" if abs(value) < 10 else f"{value:+.1f}"
    return text[1:] if float(text) == 0 else text


def nats(value: float | None) -> str:
    """A divergence: from nearly nothing to some nats, so with three digits of whatever size."""
    if value is None:
        return numerals.NA
    return f"{value:.2g}" if 0 < value < 1e-4 else f"{value:.4f}"
