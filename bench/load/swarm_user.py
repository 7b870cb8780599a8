"""What one user of Locust does. Importing Locust replaces all sockets of the process.

Locust owns the users: it spawns, stops and shows them. Its statistics get exactly one entry for
each finished request, so its page tells the truth; no number of ours is taken from there.
"""

from __future__ import annotations

import time
from typing import Any

import locust
from gevent import sleep
from gevent.pool import Group

from quantswarm.bench.load.capture import Capture, Exchange, Order, by_recv
from quantswarm.bench.load.conversation import Conversation, answer_in
from quantswarm.bench.load.desk import FAILURE_PAUSE_S, Desk, Glance
from quantswarm.bench.load.link import Link
from quantswarm.bench.load.loop import Alarm, in_thread, pour
from quantswarm.bench.load.open_desk import OpenDesk

_AWAKE_NS = 100_000
"""What the kernel and the loop need from an instant until a greenlet runs, about."""


class SwarmUser(locust.User):  # type: ignore[misc]  # locust ships no types
    """Closed loop: asks, reads the whole answer, asks again. No wait between."""

    desk: Desk
    wait_time = locust.constant(0)

    def on_start(self) -> None:
        """Locust's hook: take a number and a connection, then wait for one's turn to begin."""
        self._number = self.desk.enrol()
        self._link = self.desk.link()
        sleep(max(0.0, (self.desk.turn_ns(self._number) - time.perf_counter_ns()) / 1e9))
        self._free_ns = time.perf_counter_ns()

    def on_stop(self) -> None:
        """Locust's hook, also called when the user is stopped from its page."""
        self._link.close()

    @locust.task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        """One request. Its capture is filed even when the user is stopped in the middle."""
        order = self.desk.order(self._number, self._free_ns)
        if order is None:
            raise locust.exception.StopUser
        exchange = _exchange(order, self._link, self.desk)
        begin_ns = time.perf_counter_ns()
        try:
            exchange.run()
        finally:
            capture = exchange.capture()
            seen = self.desk.file(capture)
            self._tell(seen, (time.perf_counter_ns() - begin_ns) / 1e6)
        if seen.failure is not None:
            sleep(FAILURE_PAUSE_S)
        conversation = self.desk.unfinished(self._number)
        if conversation is None:
            self._free_ns = time.perf_counter_ns()
        else:
            self._free_ns = _thought_over(conversation, capture)

    def _tell(self, seen: Glance, lasted_ms: float) -> None:
        _told(self.environment, self.desk, seen, lasted_ms)


class Dispatcher(locust.User):  # type: ignore[misc]
    """Open loop: sends each arrival off at its own instant, whatever became of those before."""

    desk: OpenDesk
    wait_time = locust.constant(0)

    def on_start(self) -> None:
        """Locust's hook."""
        self._flights = Group()
        self._alarm = Alarm()

    def on_stop(self) -> None:
        """Locust's hook: whoever is under way files an interrupted request."""
        self._flights.kill()
        self._alarm.close()
        self.desk.abandon()

    @locust.task  # type: ignore[untyped-decorator]
    def dispatch(self) -> None:
        """The whole schedule; a second dispatcher, added on the page, has nothing to do."""
        if self.desk.enrol() >= self.desk.share.of:
            raise locust.exception.StopUser
        for order in self.desk.orders():
            self._sleep_until(order.intended_ns)
            if self.desk.admits(order):
                self._flights.spawn(self._fly, order)
        self._flights.join()
        raise locust.exception.StopUser

    def _sleep_until(self, due_ns: int) -> None:
        """Never early; the wake-up itself is passed giving way, not asleep."""
        self._alarm.sleep_until(due_ns - _AWAKE_NS)
        while due_ns > time.perf_counter_ns():
            sleep(0)

    def _fly(self, order: Order) -> None:
        """An arrival, and the turns that follow it where it begins a conversation."""
        following: Order | None = order
        while following is not None:
            capture = self._send(following)
            conversation = self.desk.unfinished(order.user)
            if conversation is None:
                return
            following = self.desk.follow(order.user, _thought_over(conversation, capture))

    def _send(self, order: Order) -> Capture:
        link = self.desk.take_link(order)
        exchange = _exchange(order, link, self.desk)
        try:
            exchange.run()
        finally:
            self.desk.give_link(link)
            capture = exchange.capture()
            seen = self.desk.file(capture)
            lasted_ms = (time.perf_counter_ns() - order.intended_ns) / 1e6
            _told(self.environment, self.desk, seen, lasted_ms)
        return capture


def _exchange(order: Order, link: Link, desk: Desk) -> Exchange:
    return Exchange(order, link, desk.plan.limits, desk.warden, by_recv if link.tls else pour)


def _thought_over(conversation: Conversation, capture: Capture) -> int:
    """Take the answer into the conversation and let the user think; the instant of the next turn.

    That is the answer's end and the think time, or when the answer had been read, if that is later.
    It is read in a thread, so that no other stream waits for the parsing.
    """
    conversation.heard(str(in_thread(lambda: answer_in(capture))))
    due_ns = max(capture.end_ns + conversation.think_ns, time.perf_counter_ns())
    sleep(max(0.0, (due_ns - time.perf_counter_ns()) / 1e9))
    return due_ns


def _told(environment: Any, desk: Desk, seen: Glance, lasted_ms: float) -> None:
    """The one entry of a finished request in Locust's statistics."""
    failure = seen.failure
    environment.events.request.fire(
        request_type="SSE",
        name=desk.plan.scenario.name,
        response_time=lasted_ms,
        response_length=seen.size_bytes,
        exception=None if failure is None else RuntimeError(failure),
        context={},
    )
