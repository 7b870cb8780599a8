"""List the quantizations, their weight format, and the engines that serve them."""

from __future__ import annotations

import argparse

from quantswarm.bench.output import print_json, print_table

SUMMARY = "quantizations, and which engine serves them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has no options of its own."""


def run(arguments: argparse.Namespace) -> int:
    """Print every recipe."""
    from quantswarm.engines.registry import engines, loads
    from quantswarm.models.recipes import recipes

    rows = [
        {
            "name": recipe.name,
            "aliases": list(recipe.aliases),
            "format": recipe.format,
            "requires": list(recipe.requires),
            "engines": [e.name for e in engines().values() if loads(e, recipe)],
            "summary": recipe.summary,
        }
        for recipe in recipes().values()
    ]
    if arguments.json:
        print_json({"quants": rows})
    else:
        print_table(
            ("quant", "format", "engines", "what it is"),
            [
                (
                    " = ".join([str(row["name"]), *row["aliases"]]),
                    str(row["format"]),
                    ", ".join(row["engines"]),
                    str(row["summary"]),
                )
                for row in rows
            ],
        )
    return 0
