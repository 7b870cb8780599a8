"""When each token is due: pure functions of the behaviour, the request's index and its start."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice

from quantswarm.engines.scripted.behaviour import Behaviour


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The rhythm of one request. Equal paces give equal instants, however often they are asked."""

    behaviour: Behaviour
    index: int
    prompt_tokens: int

    def ttft_ns(self) -> int:
        """From the start of service to the first token, before any rounding to a step."""
        per_prompt = self.behaviour.ttft_per_prompt_token_ns * self.prompt_tokens
        return self.behaviour.ttft.draw(self._source("ttft"), self.index) + per_prompt

    def natural_tokens(self) -> int | None:
        """How long the answer is when nothing asks for more or less; None: as long as asked."""
        tokens = self.behaviour.tokens
        return None if tokens is None else tokens.draw(self._source("tokens"), self.index)

    def instants(self, start_ns: int) -> Iterator[int]:
        """Due instants of token 0, 1, 2 …, without end. Gaps are drawn as they are asked for."""
        first_ns = start_ns + self.ttft_ns()
        step_ns = self.behaviour.lockstep_ns
        if step_ns:
            return count(-(-first_ns // step_ns) * step_ns, step_ns)
        gap_ns = self.behaviour.itl.constant
        if gap_ns is not None:
            return count(first_ns, gap_ns)
        return self._drawn(first_ns)

    def last_ns(self, start_ns: int, tokens: int) -> int:
        """Due instant of the last of `tokens` tokens (of the first, when there are none)."""
        instants = self.instants(start_ns)
        if isinstance(instants, count):
            first_ns, second_ns = int(next(instants)), int(next(instants))
            return first_ns + (second_ns - first_ns) * max(0, tokens - 1)
        return next(islice(instants, max(0, tokens - 1), None))

    def _drawn(self, at_ns: int) -> Iterator[int]:
        source = self._source("itl")
        for number in count():
            yield at_ns
            at_ns += self.behaviour.itl.draw(source, number)

    def _source(self, what: str) -> random.Random:
        return random.Random(f"{self.behaviour.seed}/{self.index}/{what}")


class SlotQueue:
    """`slots` places, first come first served.

    The length of a service is known when the request arrives, so its start is known then too. A
    client that goes away early leaves its place taken until its last token would have been due.
    """

    def __init__(self, slots: int) -> None:
        self._free_ns = [0] * slots

    def admit(self, received_ns: int, end_of: Callable[[int], int]) -> int:
        """The start of service; `end_of` tells the end for a start. Call in order of arrival."""
        start_ns = max(received_ns, heapq.heappop(self._free_ns))
        heapq.heappush(self._free_ns, max(start_ns, end_of(start_ns)))
        return start_ns
