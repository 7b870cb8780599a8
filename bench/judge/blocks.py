"""What comparing needs of a cell beside its numbers: its samples, second by second.

Seconds of the window are the blocks that the bootstrap draws. A token belongs to the second in
which it arrived, a latency to the second in which its request was to begin.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantswarm.bench.judge.latency import LATENCIES
from quantswarm.bench.judge.metric import Latency
from quantswarm.bench.judge.records import Record
from quantswarm.bench.judge.steady import tokens_by_second
from quantswarm.bench.judge.window import Cut

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Values in milliseconds and, in step with them, the second of the window of each."""

    values: Sequence[float]
    seconds: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """One cell's samples. `counts` has a number for each whole second of the window; `samples`
    leaves out requests that began in the rest of a second at the window's end."""

    seconds: int
    counts: Mapping[str, Sequence[float]]
    samples: Mapping[str, Samples]


def blocks_of(cut: Cut) -> Blocks:
    """The blocks of a cell's window; only whole answers have latencies."""
    seconds = int(cut.window.length_s)
    placed = [
        (record, (record.intended_ns - cut.window.start_ns) // SECOND_NS) for record in cut.good
    ]
    placed = [(record, second) for record, second in placed if second < seconds]
    answers = [0] * seconds
    for _, second in placed:
        answers[second] += 1
    return Blocks(
        seconds=seconds,
        counts={"output_throughput": tokens_by_second(cut), "request_throughput": answers},
        samples={metric.name: _samples(metric, placed) for metric in LATENCIES},
    )


def _samples(metric: Latency, placed: Sequence[tuple[Record, int]]) -> Samples:
    values, seconds = array("d"), array("q")
    for record, second in placed:
        found = metric.of(record)
        values.extend(found)
        seconds.extend([second] * len(found))
    return Samples(values=values, seconds=seconds)
