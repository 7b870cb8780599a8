"""A recommendation in words: what to run and why, the runner-up, and why not the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from quantswarm.bench.decide.quantities import QUANTITIES
from quantswarm.bench.report import numerals


def sentences(found: Mapping[str, Any]) -> list[str]:
    """From the answer to how it was asked."""
    return list(_sentences(found))


def others(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(variant, kind of reason, reason) of everything that is not recommended."""
    return [(one["variant"], one["kind"], one["why"]) for one in found["others"]]


def _sentences(found: Mapping[str, Any]) -> Iterator[str]:
    best, where = found["recommended"], f" at {found['load']}" if found["load"] else ""
    head = f"For {found['use_case']}{where}"
    if best is None:
        yield f"{head}: none. Nothing valid keeps what was asked."
    else:
        kernel = best["kernel"] or numerals.NA
        yield f"{head}: run {best['variant']} ({best['model']}, kernel {kernel})."
        yield f"Why: {found['reason']}"
        yield f"Figures: {_figures(best)}."
    if found["runner_up"]:
        tie = " (a tie)" if found["runner_up"]["variant"] in found["tied"] else ""
        yield f"Runner-up: {found['runner_up']['variant']}{tie}, {_figures(found['runner_up'])}."
    limits = ", ".join([*found["limits"], *found["constraints"]])
    asked = f"{found['optimises']} ({', then '.join(found['goals'])})"
    yield f"Asked: {asked}; limits: {limits or 'none'}."
    if found["note"]:
        yield f"Note: {found['note']}."
    if found["price"]:
        yield f"Price: {found['price']}."
    yield from (f"The runs differ in {line}." for line in found["differences"])


def _figures(option: Mapping[str, Any]) -> str:
    known = {name: value for name, value in option["values"].items() if value is not None}
    return ", ".join(f"{QUANTITIES[name].title} {_amount(name, v)}" for name, v in known.items())


def _amount(name: str, value: float) -> str:
    unit = QUANTITIES[name].unit
    if name.endswith("_gb"):
        return numerals.megabytes(value * 1e9)
    return f"{value:.4g}{'' if unit in ('%', '') else ' '}{unit}"
