"""Durations, and what they are drawn from: `10ms`, `uniform(5ms..15ms)`, `list(1ms;2ms)`."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from quantswarm.models.errors import UnknownName, UserMistake

UNITS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s)")
_CALL = re.compile(r"([a-z]+)\((.*)\)")
_SEPARATOR = re.compile(r";|\.\.")
LONGEST_NS = 24 * 3600 * 10**9

Reader = Callable[[str], float]
"""Turns the text of one value (a duration, a count) into a number."""


def duration_ns(text: str) -> int:
    """`1.5ms` → 1_500_000. A number without a unit is refused: which one would be a guess."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UserMistake(
            f"duration {text!r}", "not a number with a unit (ns, us, ms, s)", next_step="e.g. 10ms"
        )
    value = round(float(match[1]) * UNITS_NS[match[2]])
    if value > LONGEST_NS:
        raise UserMistake(f"duration {text!r}", "longer than a day")
    return value


def count(text: str) -> int:
    """A whole number, 0 or more."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UserMistake(f"count {text!r}", "not a whole number", next_step="e.g. 16")
    return int(text)


def plain(text: str) -> float:
    """A number greater than 0 without a unit, as the shape of a gamma distribution."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e6:
        raise UserMistake(f"number {text!r}", "not a number above 0", next_step="e.g. 0.5")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A kind with its parameters, in the unit in which it was read (ns, or tokens)."""

    kind: str
    parameters: tuple[float, ...]

    @property
    def constant(self) -> int | None:
        """The only value there is, None when values differ."""
        return round(self.parameters[0]) if self.kind == "const" else None

    def draw(self, source: random.Random, number: int) -> int:
        """Value `number` of a sequence: a list goes by the number, the others by `source`."""
        if self.kind == "list":
            return round(self.parameters[number % len(self.parameters)])
        return max(0, min(LONGEST_NS, round(_DRAWS[self.kind](source, *self.parameters))))

    def mean(self) -> float:
        """Expectation, in closed form."""
        return _MEANS[self.kind](*self.parameters)


def constant(value: int) -> Distribution:
    """Always `value`."""
    return Distribution(kind="const", parameters=(value,))


def parse_distribution(text: str, read: Reader) -> Distribution:
    """`text` with its values read by `read`; a bare value is a constant."""
    call = _CALL.fullmatch(text)
    if call is None:
        return Distribution(kind="const", parameters=(read(text),))
    kind, inside = call[1], _SEPARATOR.split(call[2])
    if kind not in _READERS:
        raise UnknownName("distribution", kind, _READERS, next_step="e.g. uniform(5ms..15ms)")
    readers = _READERS[kind](read) or (read,) * len(inside)
    if len(inside) != len(readers):
        raise UserMistake(
            f"distribution {text!r}", f"{kind} takes {len(readers)} values, found {len(inside)}"
        )
    values = tuple(of(value) for of, value in zip(readers, inside, strict=True))
    if kind == "uniform" and values[0] > values[1]:
        raise UserMistake(f"distribution {text!r}", "its lower end is above its upper end")
    return Distribution(kind=kind, parameters=values)


_READERS: dict[str, Callable[[Reader], tuple[Reader, ...]]] = {
    "const": lambda read: (read,),
    "uniform": lambda read: (read, read),
    "exp": lambda read: (read,),
    "gamma": lambda read: (read, plain),
    "lognormal": lambda read: (read, plain),
    "list": lambda _: (),
}

_DRAWS: dict[str, Callable[..., float]] = {
    "const": lambda _, value: value,
    "uniform": lambda source, low, high: source.uniform(low, high),
    "exp": lambda source, mean: source.expovariate(1.0) * mean,
    "gamma": lambda source, mean, shape: source.gammavariate(shape, 1.0) * mean / shape,
    "lognormal": lambda source, median, sigma: median * source.lognormvariate(0.0, sigma),
}

_MEANS: dict[str, Callable[..., float]] = {
    "const": lambda value: value,
    "uniform": lambda low, high: (low + high) / 2,
    "exp": lambda mean: mean,
    "gamma": lambda mean, _: mean,
    "lognormal": lambda median, sigma: median * math.exp(sigma * sigma / 2),
    "list": lambda *values: sum(values) / len(values),
}
