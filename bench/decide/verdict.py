"""One option held against constraints: kept, missed by how much, or not known and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.decide.constraint import Constraint
from quantswarm.bench.decide.option import Option


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`value` is None where it is not known; `unknown` says why then, and nothing holds."""

    constraint: Constraint
    value: float | None
    unknown: str | None

    @property
    def holds(self) -> bool:
        """Kept, and known to be."""
        return self.value is not None and self.constraint.holds(self.value)

    @property
    def words(self) -> str:
        """For people: "ttft_p95_ms 312 > 200, missed by 56 %"."""
        name, limit = self.constraint.name, self.constraint.limit
        if self.value is None:
            return f"{name} n/a ({self.unknown})"
        if self.holds:
            return f"{name} {self.value:.4g} keeps {self.constraint.sign} {limit:g}"
        beyond = self.constraint.beyond(self.value)
        by = f", missed by {beyond:.0%}" if beyond else ""
        return f"{name} {self.value:.4g}, not {self.constraint.sign} {limit:g}{by}"

    def as_json(self) -> dict[str, Any]:
        """The form that `compare --json` prints."""
        return {
            "constraint": str(self.constraint),
            "value": self.value,
            "holds": self.holds,
            "beyond": None if self.value is None else self.constraint.beyond(self.value),
            "unknown": self.unknown,
            "words": self.words,
        }


def verdicts(option: Option, constraints: Sequence[Constraint]) -> list[Verdict]:
    """One a constraint, in order."""
    return [
        Verdict(
            constraint=constraint,
            value=option.value(constraint.name),
            unknown=option.missing.get(constraint.name),
        )
        for constraint in constraints
    ]
