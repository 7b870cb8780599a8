"""What the processes of one swarm say of themselves, as if one had said it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from quantswarm.bench.load.probe import quantiles_ms

_SUMMED = frozenset(
    {
        "cpu_s",
        "requests_started",
        "prompts_made",
        "prompts_late",
        "arrivals_planned",
        "arrivals_dropped",
        "most_in_flight",
    }
)
_POOLED = {"dispatch_delays_ns": "dispatch_delay"}
"""Values kept one by one: percentiles of a whole are not made from those of its parts."""
_OF_EACH = (
    "cpu_s",
    "cpu_share",
    "loop_lag_p99_ms",
    "own_lag_p99_ms",
    "requests_started",
    "most_in_flight",
)


def combined(parts: Sequence[Mapping[str, Any]], cores: int) -> dict[str, Any]:
    """One process's facts of the harness, or those of several as one.

    Counts and CPU time are summed and single delays pooled; of all other numbers the worst one
    stands, so that a limit on one process holds for each. `cores` is how many the processes may
    use, 0 where that is not known; where they share them, `cpu_share` is that of a core if this is
    worse. `most_in_flight` is then an upper bound: the processes' own maxima need not coincide.
    """
    names = list(dict.fromkeys(chain.from_iterable(parts)))
    whole: dict[str, Any] = {}
    for name in names:
        values = [part[name] for part in parts if part.get(name) is not None]
        if name in _POOLED:
            whole |= quantiles_ms(_POOLED[name], chain.from_iterable(values))
        else:
            whole[name] = _as_one(name, values)
    if len(parts) > 1:
        whole["cpu_share"] = _cpu_share(parts, cores)
        whole["workers"] = [
            {name: part[name] for name in _OF_EACH if name in part} for part in parts
        ]
    return whole


def _as_one(name: str, values: Sequence[Any]) -> Any:
    if not values:
        return None
    if name == "users_seen":
        return _seen(values)
    if name in _SUMMED:
        return sum(values)
    if all(isinstance(value, int | float) for value in values):
        return max(values)
    different = list(dict.fromkeys(map(str, values)))
    return values[0] if len(different) == 1 else "; ".join(different)


def _seen(values: Sequence[Sequence[int]]) -> list[int]:
    """Users counted in the window: in one process each count, else the bounds of their sums.

    Empty where a process has not counted: one stopped as the window began may have had no time to.
    """
    if len(values) == 1:
        return list(values[0])
    if not all(values):
        return []
    return sorted({sum(map(min, values)), sum(map(max, values))})


def _cpu_share(parts: Sequence[Mapping[str, Any]], cores: int) -> float | None:
    """The busiest process's share of a core; or that of a shared core, all processes together."""
    shares = [part["cpu_share"] for part in parts if part.get("cpu_share") is not None]
    if not shares:
        return None
    together = sum(shares) / cores if 0 < cores < len(parts) else 0.0
    return float(max(*shares, together))
