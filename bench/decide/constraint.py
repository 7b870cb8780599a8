"""Constraints as they are written, NAME<NUMBER: declared names, which bear their units."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from quantswarm.bench.decide.quantities import QUANTITIES, Quantity
from quantswarm.models.errors import UnknownName, UserMistake

EXAMPLE = 'e.g. --constraint "ttft_p95_ms<200"'
_TERM = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(\S+)\s*")
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A bound on one quantity; `sign` is one of <, <=, >, >=."""

    name: str
    sign: str
    limit: float

    @property
    def quantity(self) -> Quantity:
        """What is bounded."""
        return QUANTITIES[self.name]

    def holds(self, value: float) -> bool:
        """Whether a known value keeps the bound."""
        return _HOLDS[self.sign](value, self.limit)

    def beyond(self, value: float) -> float | None:
        """How far a value lies on the wrong side, as a share of the bound (0.25: a quarter over);
        0 on the right side, None for a bound of 0."""
        if self.holds(value):
            return 0.0
        return abs(value - self.limit) / abs(self.limit) if self.limit else None

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {self.limit:g}"


def parse_constraints(texts: Sequence[str]) -> tuple[Constraint, ...]:
    """Every text holds one constraint, or several parted by commas.

    `UnknownName` with near misses for a name that is not declared, `UserMistake` for all else.
    """
    return tuple(_term(term) for text in texts for term in _terms(text))


def constraint(text: str) -> Constraint:
    """A single one."""
    (found,) = parse_constraints([text])
    return found


def _terms(text: str) -> list[str]:
    terms = text.split(",")
    if not all(term.strip() for term in terms):
        raise _mistake(text, "an empty constraint")
    return terms


def _term(term: str) -> Constraint:
    match = _TERM.fullmatch(term)
    if match is None:
        raise _mistake(term.strip(), "not NAME<NUMBER, with <, <=, > or >=")
    name, sign, number = match.groups()
    if name not in QUANTITIES:
        raise UnknownName("constraint on", name, QUANTITIES, next_step=EXAMPLE)
    try:
        limit = float(number)
    except ValueError:
        raise _mistake(
            term.strip(), f"{number!r} is not a number (units stand in the names)"
        ) from None
    if not math.isfinite(limit):
        raise _mistake(term.strip(), f"{number!r} is not a number")
    return Constraint(name=name, sign=sign, limit=limit)


def _mistake(text: str, found: str) -> UserMistake:
    return UserMistake(f"--constraint {text!r}", found, next_step=EXAMPLE)
