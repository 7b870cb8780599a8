"""List the models that can be named: the embedded one, synthetic shapes, the hub catalogue."""

from __future__ import annotations

import argparse
from typing import Any

from quantswarm.bench.output import print_json, print_table, say

SUMMARY = "models that can be served"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has no options of its own."""


def run(arguments: argparse.Namespace) -> int:
    """Print the embedded model, the synthetic shapes and the catalogue."""
    rows = [_tiny(), *_synthetic(), *_catalogue()]
    if arguments.json:
        print_json({"models": rows})
        return 0
    print_table(
        ("model", "parameters", "from", "what it is"),
        [(row["name"], _millions(row["parameters"]), row["from"], row["title"]) for row in rows],
    )
    say("Also: a local Hugging Face folder, or the path of a .gguf file.")
    return 0


def _tiny() -> dict[str, Any]:
    from quantswarm.models.source import resolve

    title = "embedded, trained on the Python standard library: for speed and quality"
    return {
        "name": "tiny",
        "parameters": resolve("tiny").parameters,
        "from": "this package",
        "title": title,
    }


def _synthetic() -> list[dict[str, Any]]:
    from quantswarm.models.shapes import PREFIX, SHAPES

    return [
        {
            "name": PREFIX + shape.name,
            "parameters": shape.parameters,
            "from": "made here",
            "title": f"random weights, shape after {shape.after}: for speed only",
        }
        for shape in SHAPES.values()
    ]


def _catalogue() -> list[dict[str, Any]]:
    from quantswarm.models.catalogue import models

    return [
        {
            "name": entry.name,
            "parameters": entry.parameters,
            "from": "hub",
            "title": entry.title,
            "repo": entry.repo,
            "revision": entry.revision,
            "awq": entry.awq,
            "gptq": entry.gptq,
            "gguf": entry.gguf,
            "gated": entry.gated,
        }
        for entry in models().values()
    ]


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:,.0f} M"
