"""Compare variants, of one run or several: ratios to one of them, intervals, noise floor."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantswarm.bench.output import print_json, print_table, say
from quantswarm.bench.pricing import add_price, price_from

SUMMARY = "compare variants across runs: ratios, intervals, noise floor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, against what, in which numbers."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="DIR", help="run directories, runs/<id>"
    )
    parser.add_argument(
        "--baseline",
        metavar="NAME",
        help="variant to compare with, e.g. vllm-bf16, or NAME@RUN (default: the first run's)",
    )
    parser.add_argument(
        "--metric",
        action="append",
        metavar="KEY",
        help="a number of summary.json, repeatable, e.g. ttft_p95_ms",
    )
    parser.add_argument(
        "--constraint",
        action="append",
        default=[],
        metavar="NAME<N",
        help='which variants keep it, repeatable, e.g. "ttft_p95_ms<200"',
    )
    parser.add_argument(
        "--include-invalid", action="store_true", help="invalid cells too, where they have numbers"
    )
    parser.add_argument(
        "--anyway", action="store_true", help="though scenario, host or model differ"
    )
    add_price(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge the runs, compare, print the table or the document."""
    from quantswarm.bench.compare.runs import compare
    from quantswarm.bench.decide.constraint import parse_constraints

    found = compare(
        arguments.runs,
        baseline=arguments.baseline,
        metrics=arguments.metric,
        invalid=arguments.include_invalid,
        anyway=arguments.anyway,
        constraints=parse_constraints(arguments.constraint),
        price=price_from(arguments),
    )
    if arguments.json:
        print_json(found)
    else:
        _print(found)
    return 0


def _print(found: Mapping[str, Any]) -> None:
    from quantswarm.bench.report.compared import ratio_table, reading
    from quantswarm.bench.report.notes import sentence
    from quantswarm.bench.report.terminal import plain_table, wrapped

    print(plain_table(ratio_table(found["comparison"], found["groups"])))
    print(wrapped(reading(found["comparison"])))
    for line in found["differences"]:
        print(wrapped(f"The runs differ in {line}."))
    for cell in found["left_out"]:
        say(f"left out: {cell['run']}/{cell['cell']} ({cell['reason']})")
    for remark in found["comparison"]["remarks"]:
        print(wrapped(f"{remark['name']}: {remark['seen']}. {sentence(remark['advice'])}"))
    if found["decision"]:
        _print_decision(found["decision"], found["constraints"])


def _print_decision(decision: Mapping[str, Any], constraints: Mapping[str, Any] | None) -> None:
    from quantswarm.bench.report import decided
    from quantswarm.bench.report.terminal import plain_table, wrapped

    print(f"\n{plain_table(decided.beside_table(decision, wide=False))}")
    for text in (decided.LEGEND, *decided.sentences(decision)):
        print(wrapped(text))
    if constraints:
        table = decided.constraint_table(constraints)
        print()
        print_table(table.head, table.rows)
        print(wrapped(decided.constraint_sentence(constraints)))
