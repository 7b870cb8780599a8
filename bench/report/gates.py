"""What a report says of the validity gates: all passed, or which were failed and by how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.judge.gates import GATES
from quantswarm.bench.report import numerals

Cell = Mapping[str, Any]


def sentences(cells: Sequence[Cell], *, included: bool = False) -> list[str]:
    """First how many cells passed, then one sentence a cell that did not, then what is not known.

    `included` says that cells which failed a gate are compared all the same.
    """
    judged = [cell for cell in cells if cell.get("gates")]
    if not judged:
        return ["No cell was measured, so no validity gate was applied."]
    broken = [cell for cell in judged if cell["failed_gates"]]
    left = "compared all the same, as was asked" if included else "left out of every comparison"
    passed = len(judged) - len(broken)
    told = f"{passed} of {len(judged)} measured cells passed every validity gate"
    return [
        f"{told}; the others are {left}." if broken else f"{told}.",
        *(f"{cell['cell']} failed {', '.join(_failures(cell))}." for cell in broken),
        *_unknown(judged),
    ]


def line(cell: Cell) -> str:
    """One cell's gates in a line: "9 passed, 2 not known", or the failed ones first."""
    gates = cell.get("gates") or []
    if not gates:
        return numerals.NA
    passed = sum(gate["passed"] is True for gate in gates)
    unknown = sum(gate["passed"] is None for gate in gates)
    parts = [f"FAILED {failure}" for failure in _failures(cell)]
    parts += [f"{passed} passed"] + ([f"{unknown} not applicable or not known"] if unknown else [])
    return ", ".join(parts)


def _failures(cell: Cell) -> list[str]:
    return [_failure(gate) for gate in cell["gates"] if gate["passed"] is False]


def _failure(gate: Mapping[str, Any]) -> str:
    value, limit = (_measure(gate[key], gate["unit"]) for key in ("value", "limit"))
    return f"{gate['name']} ({value}, limit {limit})"


def _measure(value: float, unit: str) -> str:
    if unit == "share":
        return numerals.share(value)
    return f"{numerals.plain(value)} {unit}"


def _unknown(cells: Sequence[Cell]) -> list[str]:
    """Gates that no cell could decide say something about the run, not about a cell."""
    unknown = Counter(
        gate["name"] for cell in cells for gate in cell["gates"] if gate["passed"] is None
    )
    names = [name for name, count in unknown.items() if count == len(cells)]
    return [f"Not applicable or not known here: {', '.join(names)}."] if names else []


def table() -> str:
    """The declared gates as Markdown: the table of docs/gates.md."""
    rows = [(f"`{gate.name}`", gate.measures, gate.limit) for gate in GATES]
    lines = [("gate", "what it measures", "limit"), ("---", "---", "---"), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)
