"""The open loops of a matrix file: its `rates`, and how `[arrivals]` says that they are spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from quantswarm.bench import config_file
from quantswarm.bench.load.arrivals import GAMMA, POISSON, TRACE, Arrivals
from quantswarm.bench.load.traces import trace_named
from quantswarm.models.errors import BadFile, QuantswarmError

_KEYS = frozenset({field.name for field in fields(Arrivals)} - {"rate"})
_NUMBERS = {"peak_rate": float, "burstiness": float, "steps": int, "max_in_flight": int}


def rates_in(document: Mapping[str, Any], path: Path) -> tuple[float, ...]:
    """`rates`: requests a second, one cell a variant for each; a single number is one rate."""
    value = document.get("rates", [])
    given = value if isinstance(value, list) else [value]
    if not all(type(rate) in (int, float) and 0 < rate < 1e6 for rate in given):
        raise _wrong(path, f"rates must be requests a second above 0, found {value!r}")
    return tuple(sorted({float(rate) for rate in given}))


def arrivals_in(
    document: Mapping[str, Any], rates: tuple[float, ...], path: Path
) -> Arrivals | None:
    """`[arrivals]`, without a rate of its own; None where the file has no open loop."""
    table = document.get("arrivals", {})
    if not isinstance(table, dict):
        raise _wrong(path, "arrivals must be a table, under a line [arrivals]")
    config_file.check_keys(table, _KEYS, path)
    if not rates and not table:
        return None
    arrivals = _read(table, path)
    if not rates and arrivals.kind != TRACE:
        raise _wrong(path, f"arrivals {arrivals.kind!r} need rates, e.g. rates = [2, 4, 8]")
    for loop in at_rates(arrivals, rates):
        try:
            loop.check()
        except QuantswarmError as error:
            raise _wrong(path, f"{error.asked}: {error.found}") from None
    return arrivals


def at_rates(arrivals: Arrivals | None, rates: tuple[float, ...]) -> tuple[Arrivals, ...]:
    """One open loop a rate; the arrivals as they are where there is no list of rates."""
    if rates:
        return tuple(replace(arrivals or Arrivals(), rate=rate) for rate in rates)
    return () if arrivals is None else (arrivals,)


def _read(table: Mapping[str, Any], path: Path) -> Arrivals:
    given: dict[str, Any] = {"kind": _kind(table)}
    for key, kind in _NUMBERS.items():
        value = table.get(key)
        if value is None:
            continue
        if type(value) is not int and (kind is int or type(value) is not float):
            raise _wrong(path, f"{key} of arrivals must be a number, found {value!r}")
        given[key] = kind(value)
    if "trace" in table:
        given["trace"] = trace_named(str(table["trace"]))
    return Arrivals(**given)


def _kind(table: Mapping[str, Any]) -> str:
    """The kind, or what a trace or a burstiness alone can only mean."""
    implied = TRACE if "trace" in table else GAMMA if "burstiness" in table else POISSON
    return str(table.get("kind", implied))


def _wrong(path: Path, found: str) -> BadFile:
    return config_file.wrong("matrix", path, found)
