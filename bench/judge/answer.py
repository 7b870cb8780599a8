"""The question of the whole run, for each number of users: which variant should be run?"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.compare.entries import load_of, offered, sound, variant_of
from quantswarm.bench.compare.field import Field
from quantswarm.bench.compare.ratio import Ratio

Cell = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A variant with sound cells, one a round; `speed` is the geometric mean of theirs."""

    cell: Cell
    speed: float

    @property
    def name(self) -> str:
        """For people."""
        label = self.cell.get("label")
        return f"{self.cell['engine']} {self.cell['quant']}{f' {label}' if label else ''}"


def unquantized(quant: str) -> bool:
    """Whether a quantization's name says plain floating point of 16 bits or more."""
    return re.fullmatch(r"(fp|bf|f|float|bfloat)(16|32|64)", quant) is not None


def fastest_unquantized(cells: Sequence[Cell]) -> Cell | None:
    """The cell of the unquantized variant with the most output at the heaviest load that has one;
    None where nothing is unquantized."""
    levels = sorted({_level(cell) for cell in cells})
    for level in reversed(levels):
        at = [cell for cell in cells if _level(cell) == level]
        found = _fastest(one for one in _candidates(at) if unquantized(one.cell["quant"]))
        if found is not None:
            return found.cell
    return None


def answers(cells: Sequence[Cell], field: Field | None = None) -> list[dict[str, Any]]:
    """One answer for each model and load (users, or arrivals), in that order.

    `best` and `baseline` are cell names (the first sound one of the variant), the fastest by output
    throughput among valid cells, over all rounds; `ratio` is best / baseline. Any of the three is
    None where there is none. `tied` are cells of variants that, by `field`, do not differ from the
    best one.
    """
    levels = sorted({_level(cell) for cell in cells})
    return [_answer([c for c in cells if _level(c) == level], level, field) for level in levels]


def _level(cell: Cell) -> tuple[str, int, float, str]:
    rate = (cell.get("arrivals") or {}).get("rate") or 0.0
    return cell["model"], cell["users"], rate, offered(cell)


def _answer(
    cells: Sequence[Cell], level: tuple[str, int, float, str], field: Field | None
) -> dict[str, Any]:
    model, users, _, load = level
    candidates = _candidates([cell for cell in cells if sound(cell)])
    best = _fastest(candidates)
    baseline = _fastest(one for one in candidates if unquantized(one.cell["quant"]))
    ratio = best.speed / baseline.speed if best and baseline and baseline.speed else None
    tied = _tied(best, candidates, field) if best and field else []
    left_out = [cell["cell"] for cell in cells if not sound(cell)]
    if tied and best:
        text = _no_difference(_at(users, load), best, tied, baseline)
    else:
        text = _sentence(_at(users, load), best, baseline, ratio)
    return {
        "model": model,
        "users": users,
        "load": load or _users(users),
        "best": best.cell["cell"] if best else None,
        "baseline": baseline.cell["cell"] if baseline else None,
        "ratio": ratio,
        "tied": [one.cell["cell"] for one, _ in tied],
        "left_out": left_out,
        "sentence": text + _left_out(len(left_out)) if best else text,
    }


def _candidates(cells: Iterable[Cell]) -> list[Candidate]:
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(variant_of(cell), []).append(cell)
    return [Candidate(cell=mine[0], speed=_speed(mine)) for mine in found.values()]


def _speed(cells: Sequence[Cell]) -> float:
    speeds = [float(cell["output_throughput"]) for cell in cells]
    if len(speeds) == 1 or min(speeds) <= 0:
        return statistics.fmean(speeds)
    return statistics.geometric_mean(speeds)


def _fastest(candidates: Iterable[Candidate]) -> Candidate | None:
    return max(candidates, key=lambda one: one.speed, default=None)


def _tied(
    best: Candidate, candidates: Sequence[Candidate], field: Field
) -> list[tuple[Candidate, Ratio]]:
    """Those over which the best one's lead is within the noise, the closest first."""
    load = load_of(best.cell)
    found = []
    for one in sorted(candidates, key=lambda other: -other.speed):
        lead = field.ratio(variant_of(best.cell), variant_of(one.cell), load)
        if one is not best and lead is not None and lead.same:
            found.append((one, lead))
    return found


def _at(users: int, load: str) -> str:
    return f"At {load or _users(users)}"


def _users(users: int) -> str:
    return f"{users} user{'' if users == 1 else 's'}"


def _sentence(
    at: str, best: Candidate | None, baseline: Candidate | None, ratio: float | None
) -> str:
    if best is None:
        return f"{at}: no valid cell, so no answer."
    speed = f"{best.name} was the fastest at {best.speed:.1f} tok/s"
    return f"{at}, {speed}{_compared(best, baseline, ratio)}."


def _left_out(count: int) -> str:
    if not count:
        return ""
    cells = "1 cell is" if count == 1 else f"{count} cells are"
    return f" {cells} left out (failed, invalid, skipped, or over 1 % failed requests)."


def _compared(best: Candidate, baseline: Candidate | None, ratio: float | None) -> str:
    if baseline is None or ratio is None:
        return "; no unquantized variant was valid, so there is no ratio"
    if best is baseline:
        return ", itself unquantized: no quantized variant was faster"
    return f", {ratio:.2f}× the fastest unquantized variant ({_at_speed(baseline)})"


def _at_speed(one: Candidate) -> str:
    return f"{one.name}, {one.speed:.1f} tok/s"


def _no_difference(
    at: str, best: Candidate, tied: Sequence[tuple[Candidate, Ratio]], baseline: Candidate | None
) -> str:
    names = [f"{one.name} ({one.speed:.1f} tok/s)" for one in (best, *(one for one, _ in tied))]
    among = f"{', '.join(names[:-1])} and {names[-1]}"
    text = f"{at}, no difference between {among}: {_evidence(tied[0][1])}."
    if baseline is None or baseline is best or any(one is baseline for one, _ in tied):
        return text
    ratio = best.speed / baseline.speed
    return (
        f"{text} The first is {ratio:.2f}× the fastest unquantized variant ({_at_speed(baseline)})."
    )


def _evidence(lead: Ratio) -> str:
    parts = [f"a lead of {lead.value - 1:.1%} is within the noise"]
    if lead.low is not None and lead.high is not None:
        parts.append(f"95 % interval of the ratio {lead.low:.3f} to {lead.high:.3f}")
    if lead.floor is not None:
        parts.append(f"noise floor {lead.floor.share:.1%}")
    return "; ".join(parts)
