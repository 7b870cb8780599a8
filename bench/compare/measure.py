"""What can be compared, and the runs that are: values as the judge gave them, and their blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quantswarm.bench.judge.blocks import Blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number of a cell: `key` in the summary. `source` names the counts or samples it is made
    of; `quantile` is None for a rate."""

    key: str
    title: str
    unit: str
    source: str
    quantile: float | None
    larger_is_better: bool


def _latency(name: str, percentile: int) -> Measure:
    return Measure(
        key=f"{name}_p{percentile}_ms",
        title=f"{name.upper()} p{percentile}",
        unit="ms",
        source=name,
        quantile=percentile / 100,
        larger_is_better=False,
    )


def _rate(key: str, title: str, unit: str) -> Measure:
    return Measure(
        key=key, title=title, unit=unit, source=key, quantile=None, larger_is_better=True
    )


MEASURES: tuple[Measure, ...] = (
    _rate("output_throughput", "output", "tok/s"),
    _rate("request_throughput", "requests", "req/s"),
    _latency("ttft", 50),
    _latency("ttft", 95),
    _latency("tpot", 50),
    _latency("itl", 99),
    _latency("e2e", 50),
)
HEADLINE = MEASURES[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a cell was asked: the model, and users, or an open loop in words (`offered`)."""

    model: str
    users: int
    offered: str = ""

    @property
    def words(self) -> str:
        """For people: "8 users", "4 req/s, poisson"."""
        return self.offered or f"{self.users} user{'' if self.users == 1 else 's'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One cell that may be compared: its numbers by key, None where unknown, and its blocks."""

    cell: str
    variant: str
    load: Load
    round: int
    values: Mapping[str, float | None]
    blocks: Blocks | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The runs of one variant under one load, one a round, in the order of the rounds."""

    variant: str
    load: Load
    runs: tuple[Run, ...]

    def value(self, number: int, key: str) -> float | None:
        """A number of the given round; None where that round has none."""
        return next((run.values.get(key) for run in self.runs if run.round == number), None)

    def known(self, key: str) -> dict[int, float]:
        """Round → value, for the rounds that have one above 0 (a ratio needs no less)."""
        found = {run.round: run.values.get(key) for run in self.runs}
        return {number: value for number, value in found.items() if value is not None and value > 0}


def grouped(runs: Iterable[Run]) -> tuple[Group, ...]:
    """Runs of the same variant and load together, in order of first appearance."""
    found: dict[tuple[str, Load], list[Run]] = {}
    for run in runs:
        found.setdefault((run.variant, run.load), []).append(run)
    return tuple(
        Group(variant=variant, load=load, runs=tuple(sorted(mine, key=lambda run: run.round)))
        for (variant, load), mine in found.items()
    )
