"""The desk of an open loop: the schedule decides who asks when, and the cap who is turned away."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from time import perf_counter_ns

from quantswarm.bench.load.capture import Capture, Order
from quantswarm.bench.load.desk import Desk
from quantswarm.bench.load.link import Endpoint, Link
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.prompts import Prompt, PromptMaker, PromptPool
from quantswarm.bench.load.schedule import Arrival
from quantswarm.bench.load.share import ALONE, Share
from quantswarm.bench.load.spool import SpoolWriter
from quantswarm.bench.load.tally import Tally

DROPPED = "dropped"


class PlannedPrompts(PromptPool):
    """The prompt of each arrival, by its number: the same whoever was dropped before it."""

    def __init__(self, maker: PromptMaker, schedule: Sequence[Arrival]) -> None:
        super().__init__(maker)
        self._schedule = schedule
        self._waiting: dict[int, Prompt] = {}
        self._reached = 0

    @property
    def ready(self) -> int:
        """How many wait to be taken; all that are still to come once the plan's end is reached."""
        if self._filled >= len(self._schedule):
            return len(self._schedule)
        return len(self._waiting)

    def fill(self, more: int) -> None:
        """Make the next `more` of the plan, leaving out those already asked for."""
        for arrival in self._schedule[self._filled : self._filled + more]:
            if arrival.index >= self._reached:
                made = self._maker.make(arrival.index, arrival.prompt_tokens)
                self._waiting[arrival.index] = made
            self._filled += 1

    def of(self, arrival: Arrival) -> Prompt:
        """This arrival's own; made on the spot, and counted, when it was not made before."""
        self._reached = arrival.index + 1
        prompt = self._waiting.pop(arrival.index, None)
        if prompt is not None:
            return prompt
        self.late += 1
        return self._maker.make(arrival.index, arrival.prompt_tokens)


class OpenDesk(Desk):
    """Gives each planned arrival its order, in turn, and a connection that is free.

    `schedule` holds the arrivals of this desk's share, which counts from `opens_ns`; that must be
    set before `orders` is begun. Of several processes each has its part of the cap, and turns away
    by its own. Every order is either sent, or turned away by `admits` and filed as "dropped".
    """

    def __init__(
        self,
        plan: SwarmPlan,
        endpoint: Endpoint,
        prompts: PlannedPrompts,
        spool: SpoolWriter,
        schedule: Sequence[Arrival],
        share: Share = ALONE,
        tally: Tally | None = None,
    ) -> None:
        super().__init__(plan, endpoint, prompts, spool, share, tally)
        assert plan.arrivals is not None
        self.dropped = 0
        self.most_in_flight = 0
        self._cap = share.part(plan.arrivals.max_in_flight)
        self._prompts = prompts
        self._schedule = schedule
        self._flying = 0
        self._waiting: dict[int, Order] = {}
        self._idle: list[Link] = []
        self._delays_ns = array("q")
        self._warmup_ns = round(plan.warmup * 1e9)

    @property
    def in_flight(self) -> int:
        """Arrivals without a capture, those still to come among them: the drain waits for all."""
        return len(self._schedule) - self.finished

    @property
    def flying(self) -> int:
        """Requests sent, or about to be, and not answered."""
        return self._flying

    def orders(self) -> Iterator[Order]:
        """Every planned request in order, its bytes ready; `intended_ns` is the plan's instant."""
        for arrival in self._schedule:
            prompt = self._prompts.of(arrival)
            yield Order(
                uid=prompt.uid,
                user=arrival.index,
                intended_ns=self.opens_ns + arrival.offset_ns,
                payload=self._shaper.payload(prompt, arrival.output_tokens),
                expected_prompt_tokens=self._shaper.expected_prompt_tokens(prompt),
                expected_output_tokens=arrival.output_tokens,
            )

    def admits(self, order: Order) -> bool:
        """Count an arrival whose time has come; False when the cap turned it away, now filed."""
        self.started += 1
        if self._flying >= self._cap:
            self.dropped += 1
            why = f"{self._cap} requests were in flight, as many as may be"
            self.file(_unsent(order, DROPPED, why))
            return False
        self._flying += 1
        self._waiting[order.user] = order
        self.most_in_flight = max(self.most_in_flight, self._flying)
        return True

    def take_link(self, order: Order) -> Link:
        """A connection for one request, the one most lately used first; notes how late it is."""
        self._waiting.pop(order.user, None)
        if order.intended_ns - self.opens_ns >= self._warmup_ns:
            self._delays_ns.append(perf_counter_ns() - order.intended_ns)
        return self._idle.pop() if self._idle else self.link()

    def give_link(self, link: Link) -> None:
        """The request is over; its connection waits for another."""
        self._flying -= 1
        self._idle.append(link)

    def abandon(self) -> None:
        """The end, however early: file what was admitted and never begun, close what is idle."""
        while self._waiting:
            _, order = self._waiting.popitem()
            self._flying -= 1
            self.file(_unsent(order, "interrupted", "stopped before it was sent"))
        while self._idle:
            self._idle.pop().close()

    def facts(self) -> dict[str, int | list[int]]:
        """What became of the plan; delays are of arrivals in the window, none of them dropped."""
        return {
            "arrivals_planned": len(self._schedule),
            "arrivals_dropped": self.dropped,
            "most_in_flight": self.most_in_flight,
            "dispatch_delays_ns": self._delays_ns.tolist(),
        }


def _unsent(order: Order, failure: str, error: str) -> Capture:
    return Capture(
        uid=order.uid,
        user=order.user,
        intended_ns=order.intended_ns,
        sent_ns=None,
        end_ns=perf_counter_ns(),
        conn_reused=False,
        closed=False,
        failure=failure,
        error=error,
        expected_prompt_tokens=order.expected_prompt_tokens,
        expected_output_tokens=order.expected_output_tokens,
        stamps=(),
        segments=(),
    )
