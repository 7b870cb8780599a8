"""What the server itself says: of every token, or of a few beside what its libraries say.

An engine that is read in process is held to its own server: for some windows the server gets the
beginning of one, and its likeliest next tokens are compared with the row of the same place. Kernels
may round otherwise for one row than for many; another model, other weights or a place too far would
show as several nats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from quantswarm.bench.quality.corpus import Corpus
from quantswarm.bench.quality.scores import Told
from quantswarm.bench.quality.warned import Warned, warned
from quantswarm.bench.verify.asking import Asked as Endpoint
from quantswarm.bench.verify.asking import answers
from quantswarm.bench.verify.plan import Plan

if TYPE_CHECKING:
    from quantswarm.models.dequantize import Floats

PLACES = 8
"""Windows, spread over the corpus, of which the server is asked as well."""
TOP = 5
LARGEST_MEAN = 0.3
"""Nats on average between two ways of one model: ten times what 4-bit kernels were seen to give."""
_COMPUTE = ("libggml-",)


def told_by(endpoint: Endpoint, corpus: Corpus, most: int) -> list[Told]:
    """The endpoint's likeliest tokens, and the one that came, at each place of each window."""
    plan = Plan(output_tokens=0, top=most)
    return [answer.scored for answer in answers(endpoint, corpus.windows, plan)]


class Watched:
    """Passes rows on, and keeps those of the places that the server will be asked about."""

    def __init__(self, rows: Iterable[Floats], windows: Sequence[Sequence[int]]) -> None:
        self._rows = rows
        self._windows = windows
        wanted = np.linspace(0, len(windows) - 1, min(PLACES, len(windows)))
        chosen = sorted({int(at) for at in wanted})
        self._lengths = {at: _length(number, windows[at]) for number, at in enumerate(chosen)}
        self._kept: dict[int, Floats] = {}

    def __iter__(self) -> Iterator[Floats]:
        for at, rows in enumerate(self._rows):
            if at in self._lengths:
                self._kept[at] = rows[self._lengths[at] - 1].copy()
            yield rows

    def apart(self, endpoint: Endpoint) -> float:
        """Mean absolute difference, in nats, of the likeliest tokens' log-probabilities."""
        prompts = [tuple(self._windows[at][:length]) for at, length in self._lengths.items()]
        found = answers(endpoint, prompts, Plan(output_tokens=1, top=TOP))
        apart = [
            abs(value - float(self._kept[at][token]))
            for (at, length), answer in zip(self._lengths.items(), found, strict=True)
            for token, value in answer.scored[length].items()
        ]
        return float(np.mean(apart))


def _length(number: int, window: Sequence[int]) -> int:
    """Of the beginning that the server gets: from a few tokens to all but one."""
    return max(1, (len(window) - 1) * (number + 1) // PLACES)


def remarks(apart: float, kernels: Sequence[str], of_server: Sequence[str] | None) -> list[Warned]:
    """What speaks against taking the libraries' numbers for the server's."""
    found = []
    if not apart <= LARGEST_MEAN:
        found.append(
            warned(
                "not-what-is-served",
                f"the server's log-probabilities are {apart:.2f} nats from these on average",
                "the libraries compute with other weights or settings than the server",
                "do not use these numbers; quantswarm verify compares the server with a reference",
            )
        )
    own, its = _libraries(kernels), _libraries(of_server or ())
    if its and own and own != its:
        found.append(
            warned(
                "other-kernels",
                f"scored by {', '.join(sorted(own))}; the server uses {', '.join(sorted(its))}",
                "the child process chose other compute libraries",
                "check LLAMA_SERVER_BIN and what lies beside it",
            )
        )
    return found


def _libraries(kernels: Sequence[str]) -> set[str]:
    """Compute libraries alone: CPU features are named in other words by either."""
    return {name for name in kernels if name.startswith(_COMPUTE)}
