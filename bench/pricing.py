"""The options for a price on the command line, shared by every command that tells costs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from quantswarm.bench import quantity

if TYPE_CHECKING:
    from quantswarm.bench.decide.price import Price


def add_price(parser: argparse.ArgumentParser) -> None:
    """A price an hour, as a number or by a machine's name."""
    parser.add_argument(
        "--price-per-hour",
        type=quantity.price("--price-per-hour"),
        metavar="X",
        help="what an hour of the machine costs, for the cost per million output tokens",
    )
    parser.add_argument(
        "--machine",
        metavar="NAME",
        help="take the price from the table of list prices, e.g. aws-c7i.xlarge",
    )


def price_from(arguments: argparse.Namespace) -> Price | None:
    """The price that was given; None without one."""
    from quantswarm.bench.decide.price import given_price

    return given_price(arguments.price_per_hour, arguments.machine)
