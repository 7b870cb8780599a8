"""The question of the whole run, for each number of users: which variant should be run?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_FAILURES = 0.01
"""A variant that fails more often than this is not recommended, however fast it is."""

Cell = Mapping[str, Any]


def unquantized(quant: str) -> bool:
    """Whether a quantization's name says plain floating point of 16 bits or more."""
    return re.fullmatch(r"(fp|bf|f|float|bfloat)(16|32|64)", quant) is not None


def answers(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """One answer for each model and load (users, or arrivals), in that order.

    `best` and `baseline` are cell names, the fastest by output throughput among cells that are
    valid; `ratio` is best / baseline. Any of the three is None where there is none.
    """
    levels = sorted({_level(cell) for cell in cells})
    return [_answer([c for c in cells if _level(c) == level], *level) for level in levels]


def _level(cell: Cell) -> tuple[str, int, str]:
    return cell["model"], cell["users"], offered(cell)


def offered(cell: Cell) -> str:
    """The load of an open loop in words, "" for a closed one."""
    arrivals = cell.get("arrivals")
    if not arrivals:
        return ""
    rate = arrivals.get("rate")
    return str(arrivals["kind"]) if rate is None else f"{rate:g} req/s, {arrivals['kind']}"


def _answer(cells: Sequence[Cell], model: str, users: int, load: str) -> dict[str, Any]:
    sound = [cell for cell in cells if _sound(cell)]
    best = _fastest(sound)
    baseline = _fastest(cell for cell in sound if unquantized(cell["quant"]))
    ratio = None
    if best and baseline and baseline["output_throughput"]:
        ratio = best["output_throughput"] / baseline["output_throughput"]
    return {
        "model": model,
        "users": users,
        "best": best["cell"] if best else None,
        "baseline": baseline["cell"] if baseline else None,
        "ratio": ratio,
        "left_out": [cell["cell"] for cell in cells if not _sound(cell)],
        "sentence": _sentence(_at(users, load), best, baseline, ratio, len(cells) - len(sound)),
    }


def _sound(cell: Cell) -> bool:
    compared = cell.get("compared", cell["status"] == "ok")
    if not compared or cell["output_throughput"] is None:
        return False
    return bool(cell["failures"] <= MOST_FAILURES * cell["requests"])


def _fastest(cells: Iterable[Cell]) -> Cell | None:
    return max(cells, key=lambda cell: cell["output_throughput"], default=None)


def _at(users: int, load: str) -> str:
    return f"At {load}" if load else f"At {users} user{'' if users == 1 else 's'}"


def _sentence(
    at: str, best: Cell | None, baseline: Cell | None, ratio: float | None, left_out: int
) -> str:
    if best is None:
        return f"{at}: no valid cell, so no answer."
    speed = f"{_variant(best)} was the fastest at {best['output_throughput']:.1f} tok/s"
    text = f"{at}, {speed}{_compared(best, baseline, ratio)}."
    if left_out:
        cells = "1 cell is" if left_out == 1 else f"{left_out} cells are"
        text += f" {cells} left out (failed, invalid, skipped, or over 1 % failed requests)."
    return text


def _compared(best: Cell, baseline: Cell | None, ratio: float | None) -> str:
    if baseline is None or ratio is None:
        return "; no unquantized variant was valid, so there is no ratio"
    if best is baseline:
        return ", itself unquantized: no quantized variant was faster"
    speed = f"{baseline['output_throughput']:.1f} tok/s"
    return f", {ratio:.2f}× the fastest unquantized variant ({_variant(baseline)}, {speed})"


def _variant(cell: Cell) -> str:
    return f"{cell['engine']} {cell['quant']}"
