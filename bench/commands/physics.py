"""What this machine could do at best with a variant: bytes, operations, ceilings. No server starts.

Weights that are not there are not made: a synthetic shape (synthetic/7b) is reckoned from its
dimensions, other models from the headers of what was built or downloaded before.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from quantswarm.bench import quantity
from quantswarm.bench.output import print_json, print_table, say
from quantswarm.bench.serving import (
    add_host,
    add_server,
    add_target,
    measure_since,
    options_from,
)

if TYPE_CHECKING:
    from quantswarm.bench.physics.ceiling import Physics
    from quantswarm.bench.physics.expected import Expected
    from quantswarm.bench.selection import Selection

SUMMARY = "what this machine could do at best with a variant"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The variant, the load, and how it would be served."""
    add_target(parser)
    for name, default, text in (
        ("users", 1, "requests at once"),
        ("prompt-tokens", 128, "of a prompt"),
        ("output-tokens", 64, "of an answer"),
    ):
        parser.add_argument(
            f"--{name}",
            type=quantity.count(f"--{name}", default),
            default=default,
            metavar="N",
            help=f"{text} (default: {default})",
        )
    add_host(parser)
    add_server(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the card; exit code 1 where no ceiling follows from what is known."""
    from quantswarm.bench.physics.expected import Expected
    from quantswarm.bench.selection import select_planned

    chosen = select_planned(arguments.engine, arguments.quant, arguments.model)
    lengths = Expected(prompt_tokens=arguments.prompt_tokens, output_tokens=arguments.output_tokens)
    physics = _physics(arguments, chosen, lengths)
    ceiling = physics.ceiling(arguments.users, lengths)
    document = {
        "engine": chosen.engine.name,
        "quant": chosen.quant,
        "model": chosen.model,
        "users": arguments.users,
        "output_tokens": arguments.output_tokens,
        **ceiling,
        "weight_parts": _parts(physics),
    }
    if arguments.json:
        print_json(document)
    else:
        _print(document)
    return 0 if ceiling["decode_tok_s"] is not None else 1


def _physics(arguments: argparse.Namespace, chosen: Selection, lengths: Expected) -> Physics:
    """`UserMistake` for an engine without weights, or a context that the model has not."""
    import dataclasses

    from quantswarm.bench.physics.before import physics_of
    from quantswarm.engines.prepare import prepare
    from quantswarm.models.errors import UserMistake

    found = chosen.engine.probe()
    options = options_from(arguments, users=arguments.users, port=0)
    need = round(lengths.prompt_tokens + lengths.output_tokens)
    options = dataclasses.replace(options, request_tokens=need)
    prepared = prepare(
        chosen.engine,
        chosen.recipe,
        chosen.artefact,
        options,
        device=None if found.available else "cpu",
        found=found,
    )
    physics = physics_of(chosen, prepared, since=measure_since(arguments), say=say)
    if physics is None:
        raise UserMistake(
            f"physics of engine {chosen.engine.name}",
            "it serves no weights: nothing is read or multiplied",
            next_step="an engine with weights: quantswarm engines",
        )
    return physics


def _parts(physics: Physics) -> list[dict[str, Any]] | None:
    """As a manifest's footprint has them; None where no header tells."""
    from quantswarm.models.part_sizes import sizes

    weights = physics.weights
    return None if weights is None else [part.as_json() for part in sizes(weights.parts)]


def _print(found: dict[str, Any]) -> None:
    from quantswarm.bench.physics.words import (
        COMPONENT_HEAD,
        PART_HEAD,
        card,
        component_rows,
        part_rows,
    )

    rows = component_rows(found)
    if rows:
        print_table(COMPONENT_HEAD, rows)
        print()
    if parts := found["weight_parts"]:
        print_table(PART_HEAD, part_rows(parts))
        print()
    for line in card(found):
        print(line)
