"""Candidates in order of a use case's goals: the first decides, and inside the noise the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantswarm.bench.compare.field import Field
from quantswarm.bench.compare.ratio import SAME
from quantswarm.bench.decide.option import Option, differs
from quantswarm.bench.decide.quantities import QUANTITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The candidates, best first. `tied` are those that no goal tells from the first; `by` is the
    goal that decided for the first, None where it is tied or alone."""

    order: tuple[Option, ...]
    tied: tuple[Option, ...]
    by: str | None


def ranked(field: Field, options: Sequence[Option], goals: Sequence[str]) -> Ranked:
    """The best is found goal by goal: the leader of the first goal keeps those that do not differ
    from it, the leader of the next goal among those, and so on. A goal that is not known
    of all who are left is passed over."""
    left, by = list(options), None
    for goal in goals:
        if len(left) < 2 or any(option.value(goal) is None for option in left):
            continue
        lead = min(left, key=lambda option: _cost(option, goal))
        close = [one for one in left if one is lead or differs(field, lead, one, goal) == SAME]
        if len(close) < len(left):
            left, by = close, goal
    known = [goal for goal in goals if all(one.value(goal) is not None for one in options)]
    best = min(left, key=lambda option: [_cost(option, goal) for goal in known], default=None)
    rest = [option for option in options if option is not best]
    rest.sort(key=lambda one: (one not in left, [_cost(one, goal) for goal in known]))
    return Ranked(
        order=tuple(([best] if best else []) + rest),
        tied=tuple(one for one in rest if one in left),
        by=by if len(left) == 1 else None,
    )


def _cost(option: Option, goal: str) -> float:
    """Smaller is better."""
    value = option.value(goal)
    assert value is not None, "goals that are not known of all are passed over"
    return -value if QUANTITIES[goal].larger_is_better else value
