"""Prometheus's text form, as servers give it under `/metrics`: read whole, or by our own names.

Written here because the library that reads it comes with vLLM alone, and every engine is watched.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LINE = re.compile(
    r'([a-zA-Z_:][\w:]*)(?:\s*\{((?:[^"{}]|"(?:[^"\\]|\\.)*")*)\}\s*|\s+)(\S+)(?:\s+-?\d+)?\s*',
    re.ASCII,
)
_LABEL = re.compile(r'\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)', re.ASCII)
_ESCAPE = re.compile(r"\\(.)")
_PLAIN = {"n": "\n", "\\": "\\", '"': '"'}
_PARTS = ("_bucket", "_sum", "_count")

SHARES = frozenset({"kv_cache_use"})
"""Our names that are shares of a whole: over several engines the fullest counts, not the sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One line: a number under a name and labels."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(text: str) -> Iterator[Sample]:
    """Every number in the text; comments and empty lines are left out.

    Raises ValueError at the first line that is neither.
    """
    for line in text.split("\n"):
        bare = line.strip()
        if bare and not bare.startswith("#"):
            yield _sample(bare)


def picked(text: str, gauges: Mapping[str, str]) -> dict[str, Any]:
    """Our name → its number, summed over labels; a metric that the text lacks has no key.

    A histogram is `{"sum", "count", "buckets": [[upper edge, cumulative count], …]}`, its last edge
    None for infinity. Lines of other metrics are not even parsed; a bad line raises ValueError.
    """
    ours = {metric: name for name, metric in gauges.items()}
    parts = {f"{metric}{part}": (name, part) for metric, name in ours.items() for part in _PARTS}
    prefixes = tuple(ours)
    found: dict[str, Any] = {}
    for line in text.split("\n"):
        if not line.startswith(prefixes):
            continue
        sample = _sample(line.strip())
        if math.isnan(sample.value):
            continue
        if sample.name in ours:
            _add(found, ours[sample.name], sample.value)
        elif sample.name in parts:
            name, part = parts[sample.name]
            _add_part(found.setdefault(name, {"sum": 0.0, "count": 0.0}), part, sample)
    return {name: _finished(value) for name, value in found.items()}


def _sample(line: str) -> Sample:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"not a line of metrics: {line[:80]!r}")
    name, labels, value = match.groups()
    return Sample(name=name, labels=_labels(labels or ""), value=float(value))


def _labels(text: str) -> dict[str, str]:
    found, at = {}, 0
    while at < len(text.rstrip()):
        match = _LABEL.match(text, at)
        if match is None:
            raise ValueError(f"not labels of a metric: {text[:80]!r}")
        found[match[1]] = _ESCAPE.sub(lambda m: _PLAIN.get(m[1], m[0]), match[2])
        at = match.end()
    return found


def _add(found: dict[str, Any], name: str, value: float) -> None:
    if name in SHARES:
        found[name] = max(value, found.get(name, value))
    else:
        found[name] = found.get(name, 0.0) + value


def _add_part(histogram: dict[str, Any], part: str, sample: Sample) -> None:
    if part == "_bucket":
        edges = histogram.setdefault("edges", {})
        edge = float(sample.labels["le"]) if "le" in sample.labels else math.inf
        edges[edge] = edges.get(edge, 0.0) + sample.value
    else:
        histogram[part[1:]] += sample.value


def _finished(value: Any) -> Any:
    """A histogram with its buckets in order; a number as it is."""
    if not isinstance(value, dict):
        return value
    edges = sorted(value.pop("edges", {}).items())
    buckets = [[None if math.isinf(edge) else edge, count] for edge, count in edges]
    return {**value, "buckets": buckets}
