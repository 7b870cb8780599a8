"""Warnings of all cells as footnotes: one number a name, and where it was seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Cell = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A named warning, or a status other than ok, with (cell, what was seen there) in order."""

    number: int
    name: str
    seen: tuple[tuple[str, str], ...]
    cause: str
    advice: str


def notes(cells: Sequence[Cell]) -> tuple[dict[str, tuple[int, ...]], list[Note]]:
    """The note numbers that each cell carries, by cell name, and the notes by number."""
    found: dict[str, list[tuple[str, Mapping[str, str]]]] = {}
    for cell in cells:
        for remark in _remarks(cell):
            found.setdefault(remark["name"], []).append((str(cell["cell"]), remark))
    numbers = {name: number for number, name in enumerate(found, start=1)}
    carried = {
        str(cell["cell"]): tuple(sorted({numbers[r["name"]] for r in _remarks(cell)}))
        for cell in cells
    }
    return carried, [_note(numbers[name], name, places) for name, places in found.items()]


def _note(number: int, name: str, places: list[tuple[str, Mapping[str, str]]]) -> Note:
    first = places[0][1]
    return Note(
        number=number,
        name=name,
        seen=tuple((cell, remark["seen"]) for cell, remark in places),
        cause=first["cause"],
        advice=first["advice"],
    )


def _remarks(cell: Cell) -> Iterator[dict[str, str]]:
    """The cell's status, where it is not ok, as if it were a warning; then its warnings."""
    if cell["status"] != "ok":
        reason = str(cell["reason"] or "no reason was recorded")
        yield {"name": str(cell["status"]), "seen": reason, "cause": "", "advice": ""}
    for warning in cell["warnings"]:
        yield {key: str(warning.get(key) or "") for key in ("name", "seen", "cause", "advice")}


def sentence(text: str) -> str:
    """A remark's words with a capital and one full stop, as running text wants them."""
    text = text.strip().rstrip(".")
    return f"{text[0].upper()}{text[1:]}." if text else ""
