"""Prefill and decode of one user alone, beside the baseline; what memory it takes or saves."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.compare.entries import variant_of
from quantswarm.bench.report import numerals
from quantswarm.bench.report.columns import shown
from quantswarm.bench.report.compared import Table
from quantswarm.bench.report.footprint import Taken, taken

TOLD = (
    "One user, alone: prefill is prompt tokens over the time to the first token, decode the "
    "inverse of the time per output token. × and saved (memory after load) are against the "
    "baseline; a negative share takes more."
)
_HEAD = (
    *("variant", "prefill (tok/s)", "×", "decode (tok/s)", "×", "TTFT (ms)", "TPOT (ms)"),
    *("output (tok/s)", "×", "after load", "saved"),
)
_OWN_HEAD = (
    *("variant", "prefill (tok/s)", "decode (tok/s)", "to the first token (ms)", "a token (ms)"),
    "by",
)
_KEYS = ("prefill_tok_s", "decode_tok_s", "ttft_s", "tpot_s")

Cell = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A variant at one user: geometric means over its rounds."""

    name: str
    values: Mapping[str, float | None]
    source: str | None
    taken: Taken | None


def tables(summary: Mapping[str, Any]) -> list[Table]:
    """For each model that was measured at one user: as the client saw it, and by the servers' own
    clocks where they have any. None in older runs."""
    rows: dict[str, dict[str, list[Cell]]] = {}
    for cell in summary["cells"]:
        if cell.get("phases") and shown(cell):
            rows.setdefault(str(cell["model"]), {}).setdefault(variant_of(cell), []).append(cell)
    memory = {(one.model, one.name): one for one in taken(summary)}
    baseline = baseline_of(summary)
    found: list[Table] = []
    for model, variants in rows.items():
        alone = [_alone(name, cells, memory.get((model, name))) for name, cells in variants.items()]
        base = next((one for one in alone if one.name == baseline), None)
        of = f" of {model}" if len(rows) > 1 else ""
        found += _of_model(alone, base, of)
    return found


def _of_model(alone: Sequence[Alone], base: Alone | None, of: str) -> Iterator[Table]:
    against = f", against {base.name}" if base else ""
    yield Table(
        title=f"At 1 user{of}{against}",
        head=_HEAD,
        numeric=(False, *(True for _ in _HEAD[1:])),
        rows=[list(_row(one, base)) for one in alone],
    )
    if said := [one for one in alone if one.source]:
        yield Table(
            title=f"By the server's own clock{of}, without network and client",
            head=_OWN_HEAD,
            numeric=(False, *(True for _ in _KEYS), False),
            rows=[[one.name, *_own(one), str(one.source)] for one in said],
        )


def baseline_of(summary: Mapping[str, Any]) -> str | None:
    """The run's, by the matrix or by what it compares and decides against."""
    for part in ("comparison", "decision"):
        if (summary.get(part) or {}).get("baseline"):
            return str(summary[part]["baseline"])
    found = summary.get("baseline")
    return None if found is None else str(found)


def _alone(name: str, cells: Sequence[Cell], memory: Taken | None) -> Alone:
    mine = [cell["phases"] for cell in cells]
    own = [phases["server"] or {} for phases in mine]
    return Alone(
        name=name,
        values={
            **{key: _mean([one[key] for one in mine]) for key in _KEYS},
            **{f"own_{key}": _mean([one.get(key) for one in own]) for key in _KEYS},
            "output": _mean([cell["output_throughput"] for cell in cells]),
        },
        source=next((one["source"] for one in own if one), None),
        taken=memory,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value]
    return statistics.geometric_mean(known) if known else None


def _row(one: Alone, base: Alone | None) -> Iterator[str]:
    yield one.name
    for key in ("prefill_tok_s", "decode_tok_s"):
        yield numerals.plain(one.values[key])
        yield _times(one, base, key)
    yield from (_milliseconds(one.values[key]) for key in ("ttft_s", "tpot_s"))
    yield numerals.plain(one.values["output"])
    yield _times(one, base, "output")
    yield numerals.megabytes(one.taken.memory_bytes if one.taken else None)
    share = saved(one.taken, base.taken if base else None)
    yield numerals.NA if share is None else f"{share:.0%}"


def _own(one: Alone) -> Iterator[str]:
    prefill, decode, first, each = (one.values[f"own_{key}"] for key in _KEYS)
    yield from (numerals.plain(rate) for rate in (prefill, decode))
    yield from (_milliseconds(value) for value in (first, each))


def _milliseconds(value_s: float | None) -> str:
    return numerals.plain(None if value_s is None else value_s * 1e3)


def _times(one: Alone, base: Alone | None, key: str) -> str:
    mine, theirs = one.values[key], base.values[key] if base else None
    return numerals.NA if mine is None or not theirs else f"{mine / theirs:.2f}×"


def saved(mine: Taken | None, base: Taken | None) -> float | None:
    """The part of the baseline's memory after load that this one does without; negative where it
    takes more. On the GPUs where both hold memory there, else of the processes."""
    if mine is None or base is None:
        return None
    for key in ("gpu_after_load_bytes", "memory_after_load_bytes"):
        here, there = mine.values[key], base.values[key]
        if here is not None and there:
            return 1 - here / there
    return None
