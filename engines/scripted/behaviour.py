"""A behaviour: everything that the text after `scripted:` can say, read strictly.

The grammar is in the package's docstring.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from quantswarm.engines.scripted.distribution import (
    Distribution,
    constant,
    count,
    duration_ns,
    parse_distribution,
)
from quantswarm.engines.scripted.fault import Fault, parse_fault
from quantswarm.models.errors import UnknownName, UserMistake

_PER_PROMPT = re.compile(r"(.*)\+([^+*]+)\*prompt")
_COMMA = re.compile(r",(?![^(]*\))")

CHOICES = {
    "split": ("no", "half", "utf8"),
    "eol": ("lf", "crlf"),
    "text": ("ascii", "utf8"),
    "head": ("early", "first"),
    "role": ("first", "early", "merged", "absent"),
    "finish": ("merged", "apart"),
    "done": ("yes", "no"),
    "close": ("no", "yes"),
    "usage": ("asked", "absent", "final", "merged", "continuous", "wrong"),
    "timings": ("no", "yes"),
}
"""Keys of a stream's shape that take one of a few words; the first is the default."""
_COUNTS = {"per_event": 1, "per_segment": 1, "comments": 0}
"""Keys of a stream's shape that take a number, and the least it can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a stream is cut into events and segments, and which optional parts it has."""

    per_event: int = 1
    per_segment: int = 1
    comments: int = 0
    split: str = "no"
    eol: str = "lf"
    text: str = "ascii"
    head: str = "early"
    role: str = "first"
    finish: str = "merged"
    done: str = "yes"
    close: str = "no"
    usage: str = "asked"
    timings: str = "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """`ttft_per_prompt_token_ns` is added for each prompt token; `slots` and `lockstep_ns` 0: off.

    `tokens` None: answers are as long as asked for. `context_tokens` None: the server's.
    """

    ttft: Distribution = field(default_factory=lambda: constant(20_000_000))
    ttft_per_prompt_token_ns: int = 0
    itl: Distribution = field(default_factory=lambda: constant(5_000_000))
    lockstep_ns: int = 0
    slots: int = 0
    tokens: Distribution | None = None
    context_tokens: int | None = None
    seed: int = 0
    shape: Shape = field(default_factory=Shape)
    faults: tuple[Fault, ...] = ()


def parse(text: str, base: Behaviour | None = None) -> Behaviour:
    """`base` (default: the defaults) with what `text` says; faults in `text` replace the base's.

    Raises `UserMistake` or `UnknownName`, whose message names the choices.
    """
    behaviour = base or Behaviour()
    faults: list[Fault] | None = None
    for part in _COMMA.split(text) if text else ():
        key, equals, value = part.strip().partition("=")
        if not equals:
            raise UserMistake(f"behaviour {part!r}", "not KEY=VALUE", next_step="e.g. itl=10ms")
        if key == "fault":
            faults = (faults or []) + ([] if value == "none" else [parse_fault(value)])
        else:
            behaviour = _with(behaviour, key, value)
    return behaviour if faults is None else replace(behaviour, faults=tuple(faults))


def _with(behaviour: Behaviour, key: str, value: str) -> Behaviour:
    shape: dict[str, Any] = {}
    if key in CHOICES:
        if value not in CHOICES[key]:
            raise UnknownName(f"{key}=", value, CHOICES[key], next_step=f"{key}={CHOICES[key][0]}")
        shape = {key: value}
    elif key in _COUNTS:
        shape = {key: max(_COUNTS[key], count(value))}
    if shape:
        return replace(behaviour, shape=replace(behaviour.shape, **shape))
    if key not in _KEYS:
        known = (*_KEYS, "fault", *_COUNTS, *CHOICES)
        raise UnknownName("behaviour key", key, known, next_step="e.g. ttft=50ms,itl=10ms")
    return replace(behaviour, **_KEYS[key](value))


def _ttft(value: str) -> dict[str, Any]:
    match = _PER_PROMPT.fullmatch(value)
    base, slope_ns = (match[1], duration_ns(match[2])) if match else (value, 0)
    return {
        "ttft": parse_distribution(base, duration_ns),
        "ttft_per_prompt_token_ns": slope_ns,
    }


def _tokens(value: str) -> dict[str, Any]:
    return {"tokens": None if value == "0" else parse_distribution(value, count)}


def _lockstep(value: str) -> dict[str, Any]:
    return {"lockstep_ns": 0 if value == "off" else duration_ns(value)}


_KEYS: dict[str, Callable[[str], dict[str, Any]]] = {
    "ttft": _ttft,
    "itl": lambda value: {"itl": parse_distribution(value, duration_ns)},
    "lockstep": _lockstep,
    "slots": lambda value: {"slots": count(value)},
    "tokens": _tokens,
    "context": lambda value: {"context_tokens": count(value)},
    "seed": lambda value: {"seed": count(value)},
}
