"""What a cell's tokens cost: money, where a price is known, and energy, where it was read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantswarm.bench.decide.energy import counted, tokens_per_joule
from quantswarm.bench.decide.price import Price


def spent(cell: Mapping[str, Any], price: Price | None) -> dict[str, Any]:
    """The keys that a summary's cell gets: `energy_of` is what was counted, or why nothing was."""
    speed = cell["output_throughput"]
    return {
        "cost_per_million": price.per_million(speed) if price else None,
        "currency": price.currency if price else None,
        "tokens_per_joule": tokens_per_joule(cell),
        "energy_of": counted(cell),
    }
