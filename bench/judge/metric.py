"""What a metric is: a declaration that tables and documentation read, and one pure function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from quantswarm.bench.judge.records import Record
from quantswarm.bench.judge.window import Cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Declaration of a metric; `formula` is printed as it stands in docs and reports.

    `needs` names the fields it is computed from. `larger_is_better` is None for a metric that is
    neither (a fact about the run). `elsewhere` maps another tool to that tool's name for the
    quantity, with the difference where there is one.
    """

    name: str
    title: str
    unit: str
    formula: str
    larger_is_better: bool | None
    needs: tuple[str, ...]
    elsewhere: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Metric):
    """A metric with samples, in milliseconds; `of` gives those of one whole answer.

    An empty sequence means undefined, which is not 0. `per_token` says that one request gives
    many samples.
    """

    of: Callable[[Record], Sequence[float]]
    per_token: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate(Metric):
    """A metric with one value a cell; `of` gives None where it cannot be known."""

    of: Callable[[Cut], float | None]
