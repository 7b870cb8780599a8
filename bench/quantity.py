"""Numbers on the command line, checked where they are read: each type knows its option's name."""

from __future__ import annotations

import math
from collections.abc import Callable

from quantswarm.models.errors import UserMistake

LONGEST_S = 1e6
HIGHEST_PORT = 65_535
AUTO = "auto"
"""What is left to quantswarm to choose."""


def count(option: str, example: int = 8, *, least: int = 1) -> Callable[[str], int]:
    """Reads a whole number of at least 1, or `least`; `UserMistake` for anything else."""
    return lambda text: _whole(option, text, least, None, example)


def count_or_auto(option: str) -> Callable[[str], int | None]:
    """Reads a whole number of at least 1; None for `auto`."""
    return lambda text: None if text == AUTO else _whole(option, text, 1, None, 2)


def port(option: str) -> Callable[[str], int]:
    """Reads a port, 0 (any free one) included."""
    return lambda text: _whole(option, text, 0, HIGHEST_PORT, 8000)


def seed(option: str) -> Callable[[str], int]:
    """Reads a whole number of any sign."""
    return lambda text: _whole(option, text, None, None, 0)


def seconds(option: str, *, zero: bool = False) -> Callable[[str], float]:
    """Reads a time above nothing; with `zero`, nothing is allowed too."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if (zero and value == 0) or 0 < value < LONGEST_S:
            return value
        least = "0 or more" if zero else "more than 0"
        raise UserMistake(
            f"{option} {text}", f"not a time of {least} seconds", next_step=f"e.g. {option} 30"
        )

    return read


def rate(option: str) -> Callable[[str], float]:
    """Reads requests a second, above nothing."""
    return lambda text: _between(option, text, math.inf, "a rate above 0", 4)


def price(option: str) -> Callable[[str], float]:
    """Reads an amount of money, above nothing."""
    return lambda text: _between(option, text, math.inf, "a price above 0", 0.25)


def part(option: str) -> Callable[[str], float]:
    """Reads a part of 1 that is neither nothing nor all."""
    return lambda text: _between(option, text, 1.0, "between 0 and 1", 0.95)


def _between(option: str, text: str, most: float, wanted: str, example: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 < value < most:
        return value
    raise UserMistake(f"{option} {text}", f"not {wanted}", next_step=f"e.g. {option} {example:g}")


def _whole(option: str, text: str, least: int | None, most: int | None, example: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = None
    low = value is not None and (least is None or value >= least)
    if value is not None and low and (most is None or value <= most):
        return value
    bounds = "" if least is None else f" of {least} or more"
    if most is not None:
        bounds = f" from {least} to {most}"
    raise UserMistake(
        f"{option} {text}", f"not a whole number{bounds}", next_step=f"e.g. {option} {example}"
    )
