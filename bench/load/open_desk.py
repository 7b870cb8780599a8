"""The desk of an open loop: the schedule decides who asks when, and the cap who is turned away."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from time import perf_counter_ns

from quantswarm.bench.load.capture import Capture, Order
from quantswarm.bench.load.desk import Desk, Glance
from quantswarm.bench.load.link import Endpoint, Link
from quantswarm.bench.load.patience import Misses
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.prompts import PromptPool
from quantswarm.bench.load.schedule import Arrival
from quantswarm.bench.load.share import ALONE, Share
from quantswarm.bench.load.spool import SpoolWriter
from quantswarm.bench.load.talk import Talk, TalkMaker
from quantswarm.bench.load.tally import Tally

DROPPED = "dropped"


class PlannedPrompts(PromptPool[Talk]):
    """The prompts of each arrival, by its number: the same whoever was dropped before it."""

    def __init__(self, maker: TalkMaker, schedule: Sequence[Arrival]) -> None:
        super().__init__(maker)
        self._talks = maker
        self._schedule = schedule
        self._waiting: dict[int, Talk] = {}
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
                self._waiting[arrival.index] = self._made(arrival)
            self._filled += 1

    def of(self, arrival: Arrival) -> Talk:
        """This arrival's own; made on the spot, and counted, when it was not made before."""
        self._reached = arrival.index + 1
        prompt = self._waiting.pop(arrival.index, None)
        if prompt is not None:
            return prompt
        self.late += 1
        return self._made(arrival)

    def _made(self, arrival: Arrival) -> Talk:
        return self._talks.make(arrival.index, arrival.prompt_tokens, arrival.output_tokens)


class OpenDesk(Desk):
    """Gives each planned arrival its order, in turn, and a connection that is free.

    `schedule` holds the arrivals of this desk's share, which counts from `opens_ns`; that must be
    set before `orders` is begun. Of several processes each has its part of the cap, and turns away
    by its own. Every order is either sent, or turned away by `admits` and filed as "dropped". Later
    turns of a conversation are not arrivals: they follow their answers, and none is turned away.
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
        self._ended = self._thinking = 0
        self._misses = Misses(plan.scenario.slo)
        self._waiting: dict[int, Order] = {}
        self._idle: list[Link] = []
        self._delays_ns = array("q")
        self._warmup_ns = round(plan.warmup * 1e9)

    @property
    def in_flight(self) -> int:
        """Arrivals not answered to the last turn, those still to come among them: the drain waits
        for all but those who think about a turn that will not be asked any more."""
        return len(self._schedule) - self._ended - (self._thinking if self._closed else 0)

    @property
    def flying(self) -> int:
        """Requests sent, or about to be, and not answered."""
        return self._flying

    @property
    def misses(self) -> int:
        """Arrivals of the window that are lost."""
        return self._misses.count(perf_counter_ns())

    def _in_window(self, intended_ns: int) -> bool:
        return intended_ns - self.opens_ns >= self._warmup_ns

    def orders(self) -> Iterator[Order]:
        """Every planned request in order, its bytes ready; `intended_ns` is the plan's instant."""
        for arrival in self._schedule:
            conversation = self._begun(arrival.index, self._prompts.of(arrival))
            yield self._turn(conversation, arrival.index, self.opens_ns + arrival.offset_ns)

    def follow(self, user: int, intended_ns: int) -> Order | None:
        """The next turn of an arrival's conversation, counted as in flight; None once it is over,
        and the conversation with it."""
        order = self.order(user, intended_ns)
        self._thinking -= 1
        if order is None:
            del self._talking[user]
            self._ended += 1
            return None
        self._flying += 1
        self.most_in_flight = max(self.most_in_flight, self._flying)
        return order

    def file(self, capture: Capture) -> Glance:
        """As for any desk; what it means for the objectives is counted too, and an arrival has
        ended once nothing of its conversation is left."""
        seen = super().file(capture)
        if self._in_window(capture.intended_ns):
            self._misses.ended(capture, failed=seen.failure is not None)
        goes_on = self.unfinished(capture.user) is not None
        self._thinking += goes_on
        self._ended += not goes_on
        return seen

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
        if self._in_window(order.intended_ns):
            self._misses.begun(order)
        self.most_in_flight = max(self.most_in_flight, self._flying)
        return True

    def take_link(self, order: Order) -> Link:
        """A connection for one request, the one most lately used first; notes how late it is."""
        self._waiting.pop(order.user, None)
        planned = order.turn is None or order.turn == 1
        if planned and self._in_window(order.intended_ns):
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
        part=order.part,
        conversation=order.conversation,
        turn=order.turn,
    )
