"""What a server does wrong, on purpose: kinds, and which requests they meet."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from quantswarm.engines.scripted.distribution import count, duration_ns
from quantswarm.models.errors import UnknownName, UserMistake

INSTEAD = ("html", "hang")
"""Kinds that come in the place of an answer, as HTTP statuses do."""
MIDWAY = (
    *("error-event", "malformed", "reset", "close", "truncated"),
    *("stall", "slow-loris", "freeze", "exit"),
)
"""Kinds that strike after `token` tokens."""
_WHERE = ("index", "every", "p", "token", "for")
_DEFAULT_FOR_NS = {"slow-loris": 10_000_000, "freeze": 1_000_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`indices` is an inclusive range; None, as for the other conditions, means "any".

    `for_ns` is None for a stall that never ends.
    """

    kind: str
    indices: tuple[int, int] | None = None
    every: int | None = None
    probability: float | None = None
    token: int = 1
    for_ns: int | None = None

    @property
    def status(self) -> int | None:
        """The HTTP status, of a fault that is one."""
        return int(self.kind) if self.kind.isdigit() else None

    @property
    def is_midway(self) -> bool:
        """Whether an answer begins before it strikes."""
        return self.kind in MIDWAY

    def strikes(self, index: int, source: random.Random) -> bool:
        """Whether it meets the request of that index; draws from `source` once at most."""
        if self.indices is not None and not self.indices[0] <= index <= self.indices[1]:
            return False
        if self.every is not None and (index + 1) % self.every != 0:
            return False
        return self.probability is None or source.random() < self.probability


def parse_fault(text: str) -> Fault:
    """`reset@index:3@token:5` and the like."""
    kind, *conditions = text.split("@")
    is_status = len(kind) == 3 and kind.isascii() and kind.isdigit() and kind[0] in "45"
    if not is_status and kind not in INSTEAD + MIDWAY:
        choices = (*INSTEAD, *MIDWAY, "400…599")
        raise UnknownName("fault", kind, choices, next_step="e.g. fault=reset@p:0.1@token:5")
    fault = Fault(kind=kind, for_ns=_DEFAULT_FOR_NS.get(kind))
    for condition in conditions:
        fault = _with(fault, condition)
    return fault


def _with(fault: Fault, condition: str) -> Fault:
    name, _, value = condition.partition(":")
    if name == "index":
        first, _, last = value.partition("..")
        return replace(fault, indices=(count(first), count(last or first)))
    if name == "every":
        return replace(fault, every=max(1, count(value)))
    if name == "p":
        return replace(fault, probability=_probability(value))
    if name == "token":
        return replace(fault, token=count(value))
    if name == "for":
        return replace(fault, for_ns=duration_ns(value))
    raise UnknownName("condition of a fault", name, _WHERE, next_step="e.g. 500@index:3")


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UserMistake(f"probability {text!r}", "not a number from 0 to 1")
    return value


def chosen(faults: Sequence[Fault], seed: int, index: int) -> Fault | None:
    """The first of `faults` that meets the request; the same for the same seed and index."""
    if not faults:
        return None
    source = random.Random(f"{seed}/{index}/fault")
    return next((fault for fault in faults if fault.strikes(index, source)), None)
