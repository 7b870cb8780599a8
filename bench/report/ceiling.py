"""What each variant could do at best here, and what it reached: a table a variant, and a column."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.compare.entries import load_order, load_words, variant_of
from quantswarm.bench.physics.words import COMPONENT_HEAD, basis, component_rows
from quantswarm.bench.report import numerals
from quantswarm.bench.report.compared import Table

KEY = "share_of_decode_ceiling"
_REACHED_HEAD = (
    "load",
    "decode ceiling (tok/s)",
    "prefill ceiling (tok/s)",
    "set by",
    "floor of a step (ms)",
    "TPOT p50 (ms)",
    "of decode ceiling",
    "of prefill ceiling",
)
TOLD = (
    "What this machine could do at best: weights and cache read once a step at the bandwidth that "
    "was measured, products at the rate that was measured, whichever takes longer. The floor of a "
    "step is that for the streams and the context that the cell really had."
)
Cell = Mapping[str, Any]


def share(cell: Cell) -> float | None:
    """The share of the decode ceiling that a cell, or a row of several rounds, reached."""
    found = (cell.get("ceiling") or {}).get(KEY)
    return None if found is None else float(found)


def pooled(group: Sequence[Cell]) -> dict[str, Any] | None:
    """The ceiling of a row of several rounds: the first's, with the medians of the shares."""
    found = [cell["ceiling"] for cell in group if cell.get("ceiling")]
    if not found:
        return None
    shares = {key: _median(found, key) for key in (KEY, "share_of_prefill_ceiling")}
    return {**found[0], **shares}


def tables(summary: Mapping[str, Any]) -> list[Table]:
    """Two for each variant: its bytes by component, and ceilings beside what was reached."""
    variants: dict[tuple[str, str], list[Cell]] = {}
    for cell in summary["cells"]:
        if cell.get("ceiling"):
            variants.setdefault((str(cell["model"]), variant_of(cell)), []).append(cell)
    several = len({model for model, _ in variants}) > 1
    return [
        table
        for (model, name), cells in variants.items()
        for table in _of_variant(f"{name} of {model}" if several else name, cells)
    ]


def _of_variant(name: str, cells: Sequence[Cell]) -> list[Table]:
    ceiling = cells[0]["ceiling"]
    found = []
    if rows := component_rows(ceiling):
        found.append(
            Table(
                title=f"{name}: bytes of the weights",
                head=COMPONENT_HEAD,
                numeric=(False, False, True, True, False),
                rows=rows,
            )
        )
    ordered = sorted(cells, key=lambda cell: (load_order(cell), str(cell["cell"])))
    found.append(
        Table(
            title=f"{name}: {_basis(ceiling)}",
            head=_REACHED_HEAD,
            numeric=(False, True, True, False, True, True, True, True),
            rows=[_reached(cell) for cell in ordered],
        )
    )
    return found


def _basis(ceiling: Mapping[str, Any]) -> str:
    if ceiling["decode_tok_s"] is None:
        return f"no ceiling ({'; '.join(ceiling['unknown'].values()) or 'not known'})"
    return basis(ceiling)


def _reached(cell: Cell) -> list[str]:
    ceiling = cell["ceiling"]
    floor = ceiling.get("reached_step_floor_ms")
    return [
        load_words(cell),
        numerals.plain(ceiling["decode_tok_s"]),
        numerals.plain(ceiling["prefill_tok_s"]),
        str(ceiling["bound"] or numerals.NA),
        numerals.plain(ceiling["step_floor_ms"] if floor is None else floor),
        numerals.plain(cell["tpot_p50_ms"]),
        numerals.share(ceiling.get(KEY)),
        numerals.share(ceiling.get("share_of_prefill_ceiling")),
    ]


def _median(found: Sequence[Mapping[str, Any]], key: str) -> float | None:
    known = [one[key] for one in found if one.get(key) is not None]
    return statistics.median(known) if known else None
