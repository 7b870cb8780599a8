"""Lengths in tokens: one number, or a law that each request's own number is drawn from.

A draw is a pure function of the seed, of what is drawn and of the request's number, so that every
variant is asked for the same lengths in the same order. The bell-shaped laws are cut at `min` and
`max` by drawing inside the bounds, not by moving what fell outside to the edge: no pile-up there.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

UNIFORM, NORMAL, LOGNORMAL, LIST = "uniform", "normal", "lognormal", "list"
LAWS: Mapping[str, tuple[str, ...]] = {
    UNIFORM: ("min", "max"),
    NORMAL: ("mean", "sd", "min", "max"),
    LOGNORMAL: ("median", "sigma", "min", "max"),
    LIST: ("values",),
}
"""Each law and the keys that it has, all of them needed."""
FEWEST_PROMPT_TOKENS = 24
"""Room for the id that makes a prompt unique, and some text after it."""
_LEAST_INSIDE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """A law. `centre` and `spread` are mean and sd, or median and sigma (of the logarithm)."""

    dist: str
    low: int
    high: int
    centre: float | None = None
    spread: float | None = None
    values: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The table that a scenario file would hold."""
        if self.dist == LIST:
            return {"dist": LIST, "values": list(self.values)}
        bounds: dict[str, Any] = {"min": self.low, "max": self.high}
        if self.centre is None:
            return {"dist": self.dist, **bounds}
        names = LAWS[self.dist][:2]
        return {"dist": self.dist, names[0]: self.centre, names[1]: self.spread, **bounds}


Length = int | Lengths


def length_json(length: Length) -> int | dict[str, Any]:
    """As a scenario file holds it, and as manifests store it."""
    return length if isinstance(length, int) else length.as_json()


def longest(length: Length) -> int:
    """The most that a draw can be."""
    return length if isinstance(length, int) else length.high


def shortest(length: Length) -> int:
    """The least that a draw can be."""
    return length if isinstance(length, int) else length.low


def drawn(length: Length, *, seed: int, what: str, number: int) -> int:
    """The length of request `number`; `what` keeps the draws of one request apart."""
    if isinstance(length, int):
        return length
    return at(length, random.Random(f"{what}/{seed}/{number}").random())


def at(law: Lengths, part: float) -> int:
    """The length below which `part` (0 to 1) of all draws lie."""
    if law.dist == LIST:
        return law.values[min(int(part * len(law.values)), len(law.values) - 1)]
    if law.dist == UNIFORM:
        return min(law.high, law.low + int(part * (law.high - law.low + 1)))
    below, above = _edges(law)
    # The ends of the bell are infinitely far out, and have no inverse.
    inside = min(max(below + part * (above - below), 1e-12), 1 - 1e-12)
    return min(law.high, max(law.low, round(_unscaled(law, _bell(law).inv_cdf(inside)))))


def _bell(law: Lengths) -> NormalDist:
    assert law.centre is not None
    assert law.spread is not None
    return NormalDist(math.log(law.centre) if law.dist == LOGNORMAL else law.centre, law.spread)


def _unscaled(law: Lengths, value: float) -> float:
    return math.exp(value) if law.dist == LOGNORMAL else value


def _edges(law: Lengths) -> tuple[float, float]:
    """How much of the whole bell lies below `low` and `high`, each with its half of rounding."""
    scale: Callable[[float], float] = math.log if law.dist == LOGNORMAL else float
    bell = _bell(law)
    return bell.cdf(scale(law.low - 0.5)), bell.cdf(scale(law.high + 0.5))


class Unfit(Exception):
    """Why a value cannot be a length; the reader of the file says where it stands."""


def length_from(value: object, least: int) -> Length:
    """A whole number or a table, of at least `least`; `Unfit` says what is wrong with it."""
    if isinstance(value, Mapping):
        return _law(value, least)
    if type(value) is not int or value < least:
        raise Unfit(f"must be a whole number of at least {least}, or a table, found {value!r}")
    return value


def _law(table: Mapping[str, Any], least: int) -> Lengths:
    dist = table.get("dist")
    if not isinstance(dist, str) or dist not in LAWS:
        raise Unfit(f"has dist {dist!r}, which is none of {', '.join(LAWS)}")
    keys = LAWS[dist]
    if set(table) != {"dist", *keys}:
        found = ", ".join(sorted(set(table) - {"dist"})) or "none"
        raise Unfit(f"with dist {dist!r} needs exactly the keys {', '.join(keys)}, found {found}")
    if dist == LIST:
        return _list(table["values"], least)
    low, high = (_bound(table, key, least) for key in ("min", "max"))
    if high < low:
        raise Unfit(f"has max {high} under min {low}")
    if dist == UNIFORM:
        return Lengths(dist=dist, low=low, high=high)
    centre, spread = (_positive(table, key) for key in keys[:2])
    law = Lengths(dist=dist, low=low, high=high, centre=centre, spread=spread)
    below, above = _edges(law)
    if above - below < _LEAST_INSIDE:
        raise Unfit(f"has only {above - below:.2%} of its {dist} law between {low} and {high}")
    return law


def _list(values: object, least: int) -> Lengths:
    if not isinstance(values, list) or not values:
        raise Unfit(f"needs a list of values that is not empty, found {values!r}")
    if any(type(value) is not int or value < least for value in values):
        raise Unfit(f"has values that are not whole numbers of at least {least}: {values!r}")
    return Lengths(dist=LIST, low=min(values), high=max(values), values=tuple(values))


def _bound(table: Mapping[str, Any], key: str, least: int) -> int:
    value = table[key]
    if type(value) is not int or value < least:
        raise Unfit(f"has {key} {value!r}, which must be a whole number of at least {least}")
    return value


def _positive(table: Mapping[str, Any], key: str) -> float:
    value = table[key]
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise Unfit(f"has {key} {value!r}, which must be a number above 0")
    return float(value)
