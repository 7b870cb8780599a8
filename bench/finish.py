"""The end of every measuring command: judge the run, write its report, show where it lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def finish(
    run: Path, say: Callable[[str], None], *, include_invalid: bool = False
) -> tuple[dict[str, Any], str]:
    """Write every output of a run directory; returns the summary and the terminal's table."""
    from quantswarm.bench.report import write_all
    from quantswarm.bench.report.terminal import table

    for path in write_all(run, include_invalid=include_invalid):
        say(f"wrote {path}")
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return summary, table(summary)
