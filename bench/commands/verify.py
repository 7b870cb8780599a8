"""Is a served variant what it says? Its log-probabilities against an independent float32 reference.

The reference dequantizes the very weights that are served and shares no code with the engine.
Beside it stand the unquantized original and likely deviations. Exit code 1: the variant differs.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from quantswarm.bench import quantity
from quantswarm.bench.output import print_json, print_table, say
from quantswarm.bench.own_log import own_log
from quantswarm.bench.serving import add_running, add_server, add_target, options_from

if TYPE_CHECKING:
    from quantswarm.bench.verify.plan import Plan
    from quantswarm.bench.verify.result import Result
    from quantswarm.engines.base import Precision

SUMMARY = "prove that a served variant computes what its name says"
DTYPES = ("float32", "bfloat16", "float16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The server to start, or the URL of one; what is asked of it."""
    add_target(parser)
    add_running(parser)
    parser.add_argument(
        "--original", metavar="M", help="the model that a ready-made checkpoint was made from"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, help="what it computes in, where the recipe does not say"
    )
    parser.add_argument(
        "--flags",
        default="",
        metavar="WORDS",
        help="what the server at --url was started with, e.g. --flags='-ctk q8_0 -ctv q8_0'",
    )
    asked = parser.add_argument_group("what is asked")
    for name, default, text in (
        ("prompts", 12, "beginnings of text"),
        ("prompt-tokens", 48, "tokens of the longest"),
        ("output-tokens", 8, "tokens generated after each"),
        ("top", 5, "log-probabilities at each place"),
    ):
        asked.add_argument(
            f"--{name}",
            type=quantity.count(f"--{name}", default),
            default=default,
            metavar="N",
            help=f"{text} (default: {default})",
        )
    asked.add_argument("--text", type=Path, metavar="F", help="text of your own")
    asked.add_argument(
        "--seed", type=quantity.seed("--seed"), default=0, metavar="N", help="of the places"
    )
    add_server(parser)


def run(arguments: argparse.Namespace) -> int:
    """Verify, and print what was found."""
    from quantswarm.bench.verify.result import HEADER, lines, table
    from quantswarm.bench.verify.verdict import MATCHES

    result = _at_url(arguments) if arguments.url else _started(arguments)
    if arguments.json:
        print_json(result.document())
    else:
        print_table(HEADER, table(result))
        print("", *lines(result), sep="\n")
    return 0 if result.verdict == MATCHES else 1


def _plan(arguments: argparse.Namespace) -> Plan:
    from quantswarm.bench.verify.plan import Plan

    return Plan(
        prompts=arguments.prompts,
        prompt_tokens=arguments.prompt_tokens,
        output_tokens=arguments.output_tokens,
        top=arguments.top,
        seed=arguments.seed,
        text=arguments.text,
    )


def _started(arguments: argparse.Namespace) -> Result:
    """Start the server, ask it, stop it; the references are computed while it still runs."""
    from quantswarm.bench.selection import select
    from quantswarm.bench.verify.asking import Asked
    from quantswarm.bench.verify.result import Server
    from quantswarm.bench.verify.run import dialect_of, subject_of, verify
    from quantswarm.engines.prepare import prepare
    from quantswarm.engines.registry import engine_named
    from quantswarm.engines.server import progress, running

    dialect, plan = dialect_of(engine_named(arguments.engine)), _plan(arguments)
    chosen = select(arguments.engine, arguments.quant, arguments.model)
    options = options_from(arguments, users=4, port=0)
    options = dataclasses.replace(options, request_tokens=plan.request_tokens)
    engine, artefact = chosen.engine, chosen.artefact
    prepared = prepare(engine, chosen.recipe, artefact, options, found=chosen.found)
    with (
        own_log("verify", engine.name) as log,
        running(
            engine,
            artefact,
            prepared.spec,
            prepared.flags,
            log=log,
            found=chosen.found,
            on_wait=progress,
        ) as up,
    ):
        text = log.read_text(encoding="utf-8", errors="replace")
        server = Server(
            url=up.base_url,
            version=chosen.found.version if chosen.found else None,
            device=prepared.spec.device,
            precision=_precise(engine.precision(prepared.command.argv, text), arguments.dtype),
            kernels=engine.kernels(text),
            warnings=tuple(
                (one["name"], one["seen"], one["cause"], one["advice"]) for one in prepared.warnings
            ),
        )
        asked = Asked(
            base_url=up.base_url,
            served_name=up.served_name,
            dialect=dialect,
            api_key_file=options.api_key_file,
        )
        return verify(
            subject_of(chosen, arguments.model, arguments.original), asked, server, plan, say
        )


def _at_url(arguments: argparse.Namespace) -> Result:
    """Ask a server that runs already; the engine's program need not be installed here."""
    from quantswarm.bench.selection import Selection, check_pair
    from quantswarm.bench.single import base_url_of, first_model
    from quantswarm.bench.verify.asking import Asked
    from quantswarm.bench.verify.result import Server
    from quantswarm.bench.verify.run import dialect_of, subject_of, verify
    from quantswarm.engines.registry import flags_for
    from quantswarm.models import store
    from quantswarm.models.source import resolve

    engine, recipe = check_pair(arguments.engine, arguments.quant)
    dialect = dialect_of(engine)
    artefact = None
    flags: tuple[str, ...] = ()
    if recipe is not None:
        artefact = store.artefact(resolve(arguments.model, quant=recipe.name), recipe)
        flags = flags_for(engine, recipe)
    given = (*flags, *shlex.split(arguments.flags))
    chosen = Selection(engine=engine, recipe=recipe, artefact=artefact)
    base = base_url_of(arguments.url)
    asked = Asked(
        base_url=base,
        served_name=arguments.served_name or first_model(base, arguments.api_key_file),
        dialect=dialect,
        api_key_file=arguments.api_key_file,
    )
    server = Server(
        url=base,
        version=None,
        device=None,
        precision=_precise(engine.precision(given, ""), arguments.dtype),
        kernels=None,
    )
    return verify(
        subject_of(chosen, arguments.model, arguments.original),
        asked,
        server,
        _plan(arguments),
        say,
    )


def _precise(told: Precision, dtype: str | None) -> Precision:
    """What the user says about the type goes first."""
    return told if dtype is None else dataclasses.replace(told, dtype=dtype)
