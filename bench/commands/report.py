"""Judge a run again from its raw records and write its tables, plots and pages anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from quantswarm.bench.output import print_json, say
from quantswarm.bench.pricing import add_price, price_from
from quantswarm.models.errors import BadFile

SUMMARY = "write a run's report again from its raw records"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run directory, and whether to trust it."""
    parser.add_argument("run", type=Path, metavar="DIR", help="a run directory, runs/<id>")
    parser.add_argument(
        "--include-invalid",
        action="store_true",
        help="compare cells that failed a validity gate too",
    )
    add_price(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write every output; print the table."""
    from quantswarm.bench.finish import finish

    if not (arguments.run / "run.json").is_file():
        raise BadFile(
            f"run directory {arguments.run}",
            "it holds no run.json",
            next_step="give the folder that quantswarm bench printed, runs/<id>",
        )
    summary, text = finish(
        arguments.run,
        say,
        include_invalid=arguments.include_invalid,
        price=price_from(arguments),
    )
    if arguments.json:
        print_json(summary)
    else:
        print(text)
    return 0
