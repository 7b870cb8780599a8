"""The end of every measuring command: judge the run, write its report, show where it lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantswarm.bench.decide.price import Price


def finish(
    run: Path,
    say: Callable[[str], None],
    *,
    include_invalid: bool = False,
    price: Price | None = None,
) -> tuple[dict[str, Any], str]:
    """Write every output of a run directory; returns the summary and the terminal's table. A
    `price` is kept with the run, so that judging it again tells the same costs."""
    from quantswarm.bench.decide.price import store_price
    from quantswarm.bench.report import write_all
    from quantswarm.bench.report.terminal import table

    if price is not None:
        store_price(run, price)
    for path in write_all(run, include_invalid=include_invalid):
        say(f"wrote {path}")
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return summary, table(summary)
