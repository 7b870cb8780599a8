"""The comparison as tables and sentences: ratios to the baseline, intervals, the noise floor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.compare.floor import HALVES
from quantswarm.bench.compare.measure import HEADLINE, MEASURES, Measure
from quantswarm.bench.report import numerals

ONCE = (
    "One run, no interval: each number was measured once, and differences of a few per cent "
    "may be noise."
)
_BY_KEY: Mapping[str, Measure] = {measure.key: measure for measure in MEASURES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A title, the heading, which columns hold numbers, and rows of text."""

    title: str
    head: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: list[list[str]]


def honest(summary: Mapping[str, Any]) -> str:
    """What weakens the answer: nothing was repeated, or how the ratios are to be read."""
    comparison = summary.get("comparison")
    return ONCE if comparison is None else reading(comparison)


def reading(comparison: Mapping[str, Any]) -> str:
    """One sentence on rounds and baseline, one on the noise floor of the throughput."""
    count = comparison["rounds"]
    rounds = f"{count} rounds" if count > 1 else "One round"
    floors = [f for f in comparison["floors"] if f["metric"] == HEADLINE.key]
    said = "; ".join(f"{_floor(floor)} at {floor['load']}" for floor in floors)
    text = f"{rounds}; ratios are to {comparison['baseline']}, with 95 % intervals."
    return f"{text} Noise floor of the output: {said}." if said else text


def tables(summary: Mapping[str, Any]) -> list[Table]:
    """All ratios; and, where there are rounds, each round's values."""
    comparison = summary.get("comparison")
    if comparison is None:
        return []
    found = [ratio_table(comparison, summary["groups"])]
    return [*found, *_by_round(comparison, summary["groups"])]


def ratio_table(comparison: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> Table:
    """Every variant against the baseline, by load and metric."""
    pooled = {(*_place(g), g["variant"]): g["values"] for g in groups}
    rows = []
    for pair in comparison["pairs"]:
        values = pooled[(*_place(pair), pair["variant"])][pair["metric"]]
        base = pooled[(*_place(pair), pair["baseline"])][pair["metric"]]
        rows.append(
            [
                _where(pair, groups),
                titled(pair["metric"]),
                pair["variant"],
                numerals.plain(values["pooled"]),
                numerals.plain(base["pooled"]),
                ratio_text(pair),
                interval_text(pair),
                numerals.NA if pair["floor"] is None else _floor(pair["floor"]),
                pair["verdict"],
            ]
        )
    baseline = comparison["baseline"]
    return Table(
        title=f"Ratios to {baseline}",
        head=("load", "metric", "variant", "value", "baseline", "ratio", *_LAST_HEAD),
        numeric=(False, False, False, True, True, True, True, True, False),
        rows=rows,
    )


_LAST_HEAD = ("95 % interval", "noise floor", "verdict")


def titled(metric: str) -> str:
    """The metric's name with its unit."""
    measure = _BY_KEY[metric]
    return f"{measure.title} ({measure.unit})"


def ratio_text(pair: Mapping[str, Any] | None) -> str:
    """1.100×"""
    return numerals.NA if pair is None else f"{pair['ratio']:.3f}×"


def interval_text(pair: Mapping[str, Any] | None) -> str:
    """1.080 to 1.121"""
    if pair is None or pair["low"] is None:
        return numerals.NA
    return f"{pair['low']:.3f} to {pair['high']:.3f}"


def remarks(summary: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    """What weakens the comparison, named."""
    comparison = summary.get("comparison")
    return comparison["remarks"] if comparison else ()


def _by_round(
    comparison: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]
) -> Iterator[Table]:
    numbers = sorted({number for group in groups for number in group["rounds"]})
    if len(numbers) < 2:
        return
    metrics = dict.fromkeys(pair["metric"] for pair in comparison["pairs"]) or [HEADLINE.key]
    rows = []
    for group in groups:
        for metric in metrics:
            found = group["values"][metric]["by_round"]
            values = [numerals.plain(found.get(str(number))) for number in numbers]
            pooled = numerals.plain(group["values"][metric]["pooled"])
            rows.append([_where(group, groups), titled(metric), group["variant"], *values, pooled])
    yield Table(
        title="Each round",
        head=("load", "metric", "variant", *(f"round {n}" for n in numbers), "geometric mean"),
        numeric=(False, False, False, *(True for _ in numbers), True),
        rows=rows,
    )


def _floor(floor: Mapping[str, Any]) -> str:
    kind = "halves of a window" if floor["kind"] == HALVES else "A/A pairs"
    return f"{floor['share']:.1%} ({floor['pairs']} {kind})"


def _place(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry["model"]), str(entry["load"])


def _where(entry: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
    """The load, with the model where there are several."""
    one = len({group["model"] for group in groups}) == 1
    return str(entry["load"]) if one else f"{entry['load']}, {entry['model']}"
