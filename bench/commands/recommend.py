"""Name the variant to run for a use case or constraints, with the reason and what is not known."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantswarm.bench import quantity
from quantswarm.bench.output import print_json, print_table
from quantswarm.bench.pricing import add_price, price_from

SUMMARY = "name the variant to run for a use case or constraints"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, what for, and under which constraints."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="DIR", help="run directories, runs/<id>"
    )
    parser.add_argument(
        "--use-case",
        metavar="NAME",
        help="chat, code, maths, long-context or edge (default: the highest output)",
    )
    parser.add_argument(
        "--users",
        type=quantity.count("--users"),
        metavar="N",
        help="how many at once (default: the use case's, see docs/deciding.md)",
    )
    parser.add_argument(
        "--constraint",
        action="append",
        default=[],
        metavar="NAME<N",
        help='what must hold, repeatable, e.g. "ttft_p95_ms<200"',
    )
    parser.add_argument("--baseline", metavar="NAME", help="variant to tell speed-ups against")
    parser.add_argument("--model", metavar="NAME", help="which model, where runs hold several")
    parser.add_argument(
        "--anyway", action="store_true", help="though scenario, host or model differ"
    )
    add_price(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge the runs, decide, print; exit code 1 where nothing qualifies."""
    from quantswarm.bench.decide.constraint import parse_constraints
    from quantswarm.bench.decide.recommendation import Question
    from quantswarm.bench.decide.runs import recommend
    from quantswarm.bench.decide.use_case import use_case_named

    question = Question(
        use_case=use_case_named(arguments.use_case),
        constraints=parse_constraints(arguments.constraint),
        users=arguments.users,
    )
    found = recommend(
        arguments.runs,
        question,
        baseline=arguments.baseline,
        model=arguments.model,
        anyway=arguments.anyway,
        price=price_from(arguments),
    )
    if arguments.json:
        print_json(found)
    else:
        _print(found)
    return 0 if found["recommended"] else 1


def _print(found: Mapping[str, Any]) -> None:
    from quantswarm.bench.report.recommended import others, sentences
    from quantswarm.bench.report.terminal import wrapped

    for text in sentences(found):
        print(wrapped(text))
    if rows := others(found):
        print()
        print_table(("not chosen", "kind", "why"), rows)
    print()
    print("Not measured:")
    for text in found["not_measured"]:
        print(wrapped(f"* {text}"))
