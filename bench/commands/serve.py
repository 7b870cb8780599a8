"""Serve a model: build its weights if missing, start the real server, and wait until Ctrl-C."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from quantswarm.bench import quantity
from quantswarm.bench.output import print_json, say
from quantswarm.bench.own_log import own_log
from quantswarm.bench.serving import add_server, add_target, options_from

SUMMARY = "start a server and wait until Ctrl-C"
DEFAULT_PORT = 8000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to serve, how, and where to listen."""
    add_target(parser)
    add_server(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port",
        type=quantity.port("--port"),
        default=DEFAULT_PORT,
        metavar="N",
        help="0 takes any free one",
    )
    parser.add_argument(
        "--users", type=quantity.count("--users"), metavar="N", help="requests to serve at once"
    )
    parser.add_argument("--log", type=Path, metavar="F", help="the server's log")
    parser.add_argument(
        "--dry-run", action="store_true", help="print argv, environment and reasons; start nothing"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve in the foreground, or print what would be run."""
    from quantswarm.bench.selection import select, select_planned
    from quantswarm.engines.prepare import prepare
    from quantswarm.engines.process import key_in
    from quantswarm.engines.readiness import check_port
    from quantswarm.engines.server import serve_in_foreground

    options = options_from(
        arguments, users=arguments.users, port=arguments.port, host=arguments.host
    )
    names = (arguments.engine, arguments.quant, arguments.model)
    if arguments.dry_run:
        chosen = select_planned(*names)
        print_json(prepare(chosen.engine, chosen.recipe, chosen.artefact, options).document())
        return 0
    if options.api_key_file is not None:
        key_in(options.api_key_file)  # refuses a file without a key before anything is built
    if options.port:
        check_port(options.host, options.port)
    chosen = select(*names)
    prepared = prepare(chosen.engine, chosen.recipe, chosen.artefact, options, found=chosen.found)
    for name, reason in sorted(prepared.document()["reasons"].items()):
        say(f"{name}: {reason}")
    own = own_log("serve", chosen.engine.name)
    with own if arguments.log is None else nullcontext(arguments.log) as log:
        serve_in_foreground(chosen.engine, chosen.artefact, prepared, log=log)
    return 0
