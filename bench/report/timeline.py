"""One cell over time, on one axis: the client's curves, then the engine's, then the machine's.

Everything was stamped on one monotonic clock of one host, so that nothing has to be aligned; zero
is the start of the measurement window.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench.judge import engine_view, resources
from quantswarm.bench.judge.manifest import read_manifest
from quantswarm.bench.judge.records import Record, read_records
from quantswarm.bench.judge.window import Window
from quantswarm.models.errors import BadFile

MOST_POINTS = 200
BINS_S = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
LONG_S = 20.0
"""Runs longer than this are binned by the second at the finest, as steadiness is judged."""

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """(seconds from the window's start, value), in order."""

    label: str
    points: Points


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Curves that share a unit and a vertical axis, which begins at 0."""

    title: str
    unit: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The window is 0 to `window_s`; before it lies warm-up, after it drain."""

    begin_s: float
    window_s: float
    end_s: float
    rows: tuple[Row, ...]


def timeline(cell_dir: Path) -> Timeline | None:
    """From a cell's raw files; None for a cell that was never measured, or cannot be read."""
    try:
        window = read_manifest(cell_dir / "manifest.json").window
        records = read_records(cell_dir / "records.jsonl").records
    except BadFile:
        return None
    if window is None or not records:
        return None
    begin_ns = min(window.start_ns, *(r.intended_ns for r in records))
    end_ns = max(window.end_ns, *(r.end_ns for r in records))
    span = _Span(window=window, begin_ns=begin_ns, end_ns=end_ns)
    scrapes = engine_view.read_scrapes(cell_dir / engine_view.FILE) or ()
    samples = resources.read_samples(cell_dir / resources.FILE)
    rows = (*_load(records, scrapes, span), *_machine(samples, span), *_gpus(samples, span))
    return Timeline(
        begin_s=span.seconds(begin_ns),
        window_s=window.length_s,
        end_s=span.seconds(end_ns),
        rows=tuple(kept for row in rows if (kept := _kept(row)) is not None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    window: Window
    begin_ns: int
    end_ns: int

    def seconds(self, ns: int) -> float:
        return (ns - self.window.start_ns) / 1e9

    def points(self, found: Iterable[tuple[int, float | None]]) -> Points:
        """Those that lie in the span and have a value, thinned."""
        inside = [
            (self.seconds(ns), float(value))
            for ns, value in found
            if value is not None and self.begin_ns <= ns <= self.end_ns
        ]
        return thinned(inside)


def thinned(points: Points, most: int = MOST_POINTS) -> Points:
    """At most `most` points: lowest and highest of each stretch, so that no peak is lost."""
    if len(points) <= most:
        return points
    size = -(-len(points) // (most // 2))
    stretches = (points[i : i + size] for i in range(0, len(points), size))
    ends = ((min(s, key=lambda p: p[1]), max(s, key=lambda p: p[1])) for s in stretches)
    return [point for pair in ends for point in sorted(set(pair))]


def _load(
    records: Sequence[Record], scrapes: Sequence[engine_view.Scrape], span: _Span
) -> tuple[Row, ...]:
    def said(name: str, scale: float = 1.0) -> Points:
        found = ((s.ns, (s.values or {}).get(name)) for s in scrapes)
        return span.points((ns, None if v is None else v * scale) for ns, v in found)

    return (
        Row(
            title="Output",
            unit="tok/s",
            curves=(Curve(label="client", points=_throughput(records, span)),),
        ),
        Row(
            title="Requests",
            unit="",
            curves=(
                Curve(label="client: in flight", points=_in_flight(records, span)),
                Curve(label="engine: running", points=said("running")),
                Curve(label="engine: waiting", points=said("waiting")),
            ),
        ),
        Row(
            title="KV cache in use",
            unit="%",
            curves=(Curve(label="engine", points=said("kv_cache_use", 100)),),
        ),
    )


def _throughput(records: Sequence[Record], span: _Span) -> Points:
    """Tokens a second by the instant they arrived, in bins that begin at the window's start."""
    whole_s = span.seconds(span.end_ns) - span.seconds(span.begin_ns)
    finest = 1.0 if whole_s >= LONG_S else BINS_S[0]
    fit = (w for w in BINS_S if w >= finest and whole_s / w <= MOST_POINTS - 1)
    width = next(fit, whole_s / (MOST_POINTS - 1))
    counts: dict[int, int] = {}
    for record in records:
        for ns, tokens in zip(record.event_ns, record.event_tokens, strict=True):
            place = int(span.seconds(ns) // width)
            counts[place] = counts.get(place, 0) + tokens
    bins = range(int(span.seconds(span.begin_ns) // width), int(span.seconds(span.end_ns) // width))
    return [((place + 0.5) * width, counts.get(place, 0) / width) for place in bins]


def _in_flight(records: Sequence[Record], span: _Span) -> Points:
    """Requests begun and not ended, at evenly spaced instants."""
    begun = sorted(record.intended_ns for record in records)
    ended = sorted(record.end_ns for record in records)
    step = max((span.end_ns - span.begin_ns) // (MOST_POINTS - 1), 1)
    instants = range(span.begin_ns, span.end_ns + 1, step)
    return [
        (span.seconds(ns), float(bisect_right(begun, ns) - bisect_right(ended, ns)))
        for ns in instants
    ][:MOST_POINTS]


def _machine(samples: Sequence[Mapping[str, Any]], span: _Span) -> tuple[Row, ...]:
    def busy(of: Callable[[Mapping[str, Any]], float | None]) -> Points:
        return span.points(_rates((s["ns"], of(s)) for s in samples))

    def megabytes(key: str) -> Points:
        return span.points((s["ns"], _scaled(s.get(key), 1e6)) for s in samples)

    return (
        Row(
            title="Processors",
            unit="cores",
            curves=(
                Curve(label="server", points=busy(lambda s: s.get("cpu_s"))),
                Curve(label="generator", points=busy(lambda s: s.get("generator_cpu_s"))),
                Curve(label="stolen by the host", points=busy(_stolen_s)),
            ),
        ),
        Row(
            title="Memory of the server",
            unit="MB",
            curves=(
                Curve(label="resident", points=megabytes("rss_bytes")),
                Curve(label="proportional", points=megabytes("pss_bytes")),
            ),
        ),
    )


def _gpus(samples: Sequence[Mapping[str, Any]], span: _Span) -> tuple[Row, ...]:
    """Of several GPUs one curve each; no rows without a GPU."""
    count = max((len(s.get("gpus") or ()) for s in samples), default=0)

    def row(title: str, unit: str, key: str, scale: float) -> Row:
        def curve(index: int) -> Curve:
            mine = (
                (s["ns"], s["gpus"][index]) for s in samples if len(s.get("gpus") or ()) > index
            )
            points = span.points((ns, _scaled(gpu.get(key), scale)) for ns, gpu in mine)
            return Curve(label=f"GPU {index}", points=points)

        return Row(title=title, unit=unit, curves=tuple(map(curve, range(count))))

    return (
        row("GPU busy", "%", "utilization", 0.01),
        row("GPU memory", "GB", "used_bytes", 1e9),
        row("GPU power", "W", "power_w", 1.0),
        row("GPU SM clock", "MHz", "sm_mhz", 1.0),
    )


def _stolen_s(sample: Mapping[str, Any]) -> float | None:
    cores = sample.get("cores") or ()
    return sum(core["steal_s"] for core in cores) if cores else None


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value / scale


def _rates(counter: Iterable[tuple[int, float | None]]) -> list[tuple[int, float | None]]:
    """A cumulative counter's rise a second, at the later of each two neighbours."""
    known = [(ns, value) for ns, value in counter if value is not None]
    return [
        (t1, max(0.0, (b - a) / (t1 - t0) * 1e9))
        for (t0, a), (t1, b) in itertools.pairwise(known)
        if t1 > t0
    ]


def _kept(row: Row) -> Row | None:
    """The row with those of its curves that can be drawn; None where none can."""
    curves = tuple(curve for curve in row.curves if len(curve.points) > 1)
    return Row(title=row.title, unit=row.unit, curves=curves) if curves else None
