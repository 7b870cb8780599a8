"""The main job: measure every cell of a matrix, one server at a time, and write the report."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from quantswarm.bench import quantity
from quantswarm.bench.output import print_json, say
from quantswarm.bench.pricing import add_price, price_from
from quantswarm.bench.serving import add_host, add_server, measure_since, options_from

SUMMARY = "measure a matrix of engines and quantizations, and report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which matrix, where to, and options that every server of it shares."""
    parser.add_argument("--matrix", default="default", metavar="NAME|FILE", help="what to measure")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="run directory (default: a new one)"
    )
    parser.add_argument(
        "--rounds",
        type=quantity.count("--rounds", 4),
        metavar="N",
        help="measure everything N times, every second time backwards (default: the matrix's)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="do only what is missing, failed or invalid"
    )
    add_host(parser)
    parser.add_argument(
        "--no-quality", action="store_true", help="leave perplexity and its like unmeasured"
    )
    add_price(parser)
    add_server(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, report, print the table; exit code 1 unless every cell has a valid result."""
    from quantswarm.bench.exclusive import measuring
    from quantswarm.bench.finish import finish
    from quantswarm.bench.matrix import matrix_named
    from quantswarm.bench.run import run_matrix

    price = price_from(arguments)
    matrix = matrix_named(arguments.matrix)
    if arguments.rounds is not None:
        matrix = dataclasses.replace(matrix, rounds=arguments.rounds)
    if arguments.no_quality:
        matrix = dataclasses.replace(matrix, quality=None)
    base = options_from(arguments, users=None, port=0)
    with measuring():
        done = run_matrix(
            matrix,
            arguments.out,
            resume=arguments.resume,
            base=base,
            say=say,
            since=measure_since(arguments),
        )
    summary, text = finish(done, say, price=price)
    if arguments.json:
        print_json(summary)
    else:
        print(text)
    return 0 if all(cell["status"] == "ok" for cell in summary["cells"]) else 1
