"""Say which engines can run here, with which quantizations, and why the others cannot."""

from __future__ import annotations

import argparse
from typing import Any

from quantswarm.bench.output import print_json, print_table

SUMMARY = "engines that can run here, and why others cannot"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has no options of its own."""


def run(arguments: argparse.Namespace) -> int:
    """Print the engines document."""
    document = describe()
    if arguments.json:
        print_json(document)
        return 0
    print_table(
        ("engine", "here", "version", "device", "quantizations", "remark"),
        [
            (
                row["name"],
                "yes" if row["available"] else "no",
                row["version"] or "n/a",
                row["device"] or "n/a",
                ", ".join(quant["name"] for quant in row["quants"] if quant["runnable"]) or "none",
                row["reason"],
            )
            for row in document["engines"]
        ],
    )
    return 0


def describe() -> dict[str, list[dict[str, Any]]]:
    """`{"engines": [{"name", "available", "version", "device", "reason", "quants": […]}]}`."""
    from quantswarm.engines.registry import engines

    return {"engines": [_engine_row(engine) for engine in engines().values()]}


def _engine_row(engine: Any) -> dict[str, Any]:
    found = engine.probe()
    return {
        "name": engine.name,
        "summary": engine.summary,
        "available": found.available,
        "version": found.version,
        "device": found.device,
        "reason": found.reason if found.available else f"{found.reason} {found.cure}".strip(),
        "quants": _quants(engine, available=found.available, reason=found.reason),
    }


def _quants(engine: Any, *, available: bool, reason: str) -> list[dict[str, Any]]:
    from quantswarm.engines.registry import loads, refusal
    from quantswarm.models.recipes import recipes

    rows = []
    for recipe in recipes().values():
        can = loads(engine, recipe)
        why = reason if can else refusal(engine, recipe)
        runnable = can and available
        rows.append(
            {"name": recipe.name, "runnable": runnable, "reason": None if runnable else why}
        )
    return rows
