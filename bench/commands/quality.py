"""How much worse does a served variant answer? Perplexity, KL divergence, agreement.

Measured on the served configuration, token by token beside the unquantized original in float32.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from quantswarm.bench import quantity
from quantswarm.bench.output import print_json, print_table, say
from quantswarm.bench.own_log import own_log
from quantswarm.bench.serving import add_running, add_server, add_target, options_from

if TYPE_CHECKING:
    from quantswarm.bench.quality.asked import Asked
    from quantswarm.bench.quality.run import Measured, Subject

SUMMARY = "perplexity, KL divergence and agreement of a served variant"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The server to start, or the URL of one; on which text, and beside what."""
    from quantswarm.bench.quality.asked import DEFAULT_TOKENS, FEWEST_TOKENS
    from quantswarm.bench.quality.tasks.run import add_arguments as add_tasks

    add_target(parser)
    add_running(parser)
    parser.add_argument(
        "--reference", metavar="M", help="the unquantized model (default: what it was made from)"
    )
    parser.add_argument(
        "--text", type=Path, metavar="F", help="a text file, e.g. WikiText-2 raw (default: own)"
    )
    parser.add_argument(
        "--tokens",
        type=quantity.count("--tokens", DEFAULT_TOKENS, least=FEWEST_TOKENS),
        default=DEFAULT_TOKENS,
        metavar="N",
        help=f"tokens to send (default: {DEFAULT_TOKENS})",
    )
    add_tasks(parser)
    add_server(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print what was found."""
    from quantswarm.bench.quality.table import HEADER, lines, rows
    from quantswarm.bench.quality.tasks import beside

    measured = _at_url(arguments) if arguments.url else _started(arguments)
    if arguments.json:
        print_json(measured.document)
    else:
        print_table(HEADER, rows(measured.document))
        print("", *lines(measured.document), sep="\n")
        if measured.document.get("tasks"):
            print()
            print_table(beside.HEADER, beside.rows(measured.document["tasks"]))
    return 0


def _asked(arguments: argparse.Namespace) -> Asked:
    from quantswarm.bench.quality.asked import Asked

    return Asked(tokens=arguments.tokens, text=arguments.text, reference=arguments.reference)


def _measured(arguments: argparse.Namespace, subject: Subject) -> Measured:
    """The measures, and the tasks beside them."""
    from quantswarm.bench.quality.run import measure
    from quantswarm.bench.quality.tasks.beside import tasks_beside

    tasks = tasks_beside(arguments, subject, say)
    measured = measure(subject, _asked(arguments), say)
    return dataclasses.replace(measured, document={**measured.document, "tasks": tasks})


def _started(arguments: argparse.Namespace) -> Measured:
    """Start the server, measure beside it, stop it."""
    from quantswarm.bench.quality.step import subject_of
    from quantswarm.bench.quality.ways import way_of
    from quantswarm.bench.selection import select
    from quantswarm.engines.prepare import prepare
    from quantswarm.engines.registry import engine_named
    from quantswarm.engines.server import progress, running

    way_of(engine_named(arguments.engine))  # refuses before anything is built
    asked = _asked(arguments)
    chosen = select(arguments.engine, arguments.quant, arguments.model)
    options = options_from(arguments, users=4, port=0)
    options = dataclasses.replace(options, request_tokens=asked.window + 1)
    prepared = prepare(chosen.engine, chosen.recipe, chosen.artefact, options, found=chosen.found)
    with (
        own_log("quality", chosen.engine.name) as log,
        running(
            chosen.engine,
            chosen.artefact,
            prepared.spec,
            prepared.flags,
            log=log,
            found=chosen.found,
            on_wait=progress,
        ) as up,
    ):
        subject = subject_of(chosen, prepared, up, model=arguments.model)
        return _measured(arguments, subject)


def _at_url(arguments: argparse.Namespace) -> Measured:
    """Ask a server that runs already; the engine's program need not be installed here."""
    from quantswarm.bench.quality.run import Subject
    from quantswarm.bench.quality.ways import require_endpoint
    from quantswarm.bench.selection import NO_QUANT, check_pair
    from quantswarm.bench.single import base_url_of, first_model
    from quantswarm.bench.verify.asking import Asked as Endpoint
    from quantswarm.models import store
    from quantswarm.models.source import resolve

    engine, recipe = check_pair(arguments.engine, arguments.quant)
    require_endpoint(engine)
    artefact = None
    if recipe is not None:
        artefact = store.artefact(resolve(arguments.model, quant=recipe.name), recipe)
    base = base_url_of(arguments.url)
    quant = recipe.name if recipe else NO_QUANT
    subject = Subject(
        engine=engine,
        quant=quant,
        model=arguments.model,
        variant=f"{engine.name}-{quant}",
        artefact=artefact,
        endpoint=Endpoint(
            base_url=base,
            served_name=arguments.served_name or first_model(base, arguments.api_key_file),
            dialect=str(engine.logprobs_by),
            api_key_file=arguments.api_key_file,
        ),
    )
    return _measured(arguments, subject)
