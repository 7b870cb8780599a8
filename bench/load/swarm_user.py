"""Locust, used as a library: the only module that imports it, since that replaces all sockets.

Locust owns the users: it spawns, stops and shows them. Its statistics get exactly one entry for
each finished request, so its page tells the truth; no number of ours is taken from there.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import locust
from gevent import Timeout, get_hub, signal_handler, sleep, spawn
from gevent.pool import Group

from quantswarm.bench.load.capture import Exchange, Order
from quantswarm.bench.load.desk import FAILURE_PAUSE_S, Desk, Glance
from quantswarm.bench.load.open_desk import OpenDesk
from quantswarm.engines.timerfd import TimerFd
from quantswarm.models.errors import PortInUse

LOOPBACK = "127.0.0.1"
_READABLE = 1
_AWAKE_NS = 100_000
"""What the kernel and the loop need from an instant until a greenlet runs, about."""
STOP_S = 10.0


class SwarmUser(locust.User):  # type: ignore[misc]  # locust ships no types
    """Closed loop: asks, reads the whole answer, asks again. No wait between."""

    desk: Desk
    wait_time = locust.constant(0)

    def on_start(self) -> None:
        """Locust's hook: take a number and a connection, then wait for one's turn to begin."""
        self._number = self.desk.enrol()
        self._link = self.desk.link()
        sleep(self.desk.stagger_s(self._number))
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
        exchange = Exchange(order, self._link, self.desk.plan.limits)
        begin_ns = time.perf_counter_ns()
        try:
            exchange.run()
        finally:
            seen = self.desk.file(exchange.capture())
            self._tell(seen, (time.perf_counter_ns() - begin_ns) / 1e6)
        if seen.failure is not None:
            sleep(FAILURE_PAUSE_S)
        self._free_ns = time.perf_counter_ns()

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
        if self.desk.enrol():
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
        link = self.desk.take_link(order)
        exchange = Exchange(order, link, self.desk.plan.limits)
        try:
            exchange.run()
        finally:
            self.desk.give_link(link)
            seen = self.desk.file(exchange.capture())
            lasted_ms = (time.perf_counter_ns() - order.intended_ns) / 1e6
            _told(self.environment, self.desk, seen, lasted_ms)


class Alarm:
    """Wakes one greenlet at exact instants; the loop's own timers are good to a millisecond."""

    def __init__(self) -> None:
        self._timer = TimerFd()
        self._watcher: Any = get_hub().loop.io(self._timer.fileno(), _READABLE)

    def sleep_until(self, due_ns: int) -> None:
        """Never early; gives way to others at least once, however late it is."""
        self._timer.set(due_ns)
        get_hub().wait(self._watcher)

    def close(self) -> None:
        """No greenlet may be asleep in it."""
        self._watcher.close()
        self._timer.close()


def watch_poll(sleeps: Callable[[], object], wakes: Callable[[], object]) -> Callable[[], None]:
    """Call `sleeps` last before the loop waits for events and `wakes` first after it, until the
    function that is returned is called."""
    loop = get_hub().loop
    before: Any = loop.prepare(ref=False, priority=loop.MINPRI)
    after: Any = loop.check(ref=False, priority=loop.MAXPRI)
    before.start(sleeps)
    after.start(wakes)

    def stop() -> None:
        for watcher in (before, after):
            watcher.stop()
            watcher.close()

    return stop


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


class Crowd:
    """The users as one: started, counted, stopped; with Locust's page when a port is given."""

    def __init__(self, desk: Desk, on_fault: Callable[[BaseException], None]) -> None:
        self._desk = desk
        self._open = isinstance(desk, OpenDesk)
        kind: Any = Dispatcher if self._open else SwarmUser
        kind.desk = desk
        plan = desk.plan
        # Users taken away on the page finish the request they are in.
        self._environment: Any = locust.env.Environment(
            user_classes=[kind], host=plan.base_url, stop_timeout=plan.limits.total_s
        )
        # Locust would log what a user's code raises and go on.
        self._environment.events.user_error.add_listener(lambda exception, **_: on_fault(exception))
        self._runner: Any = self._environment.create_local_runner()
        self._page = None if plan.ui_port is None else self._open_page(plan.ui_port)

    @property
    def users(self) -> int:
        """Users alive now; in an open loop, requests in flight."""
        if isinstance(self._desk, OpenDesk):
            return self._desk.flying
        return int(self._runner.user_count)

    def start(self) -> None:
        """Spawn all at once; each then waits for its own moment (`Desk.stagger_s`)."""
        users = 1 if self._open else self._desk.plan.users
        self._runner.start(users, spawn_rate=users)

    def stop(self) -> None:
        """Stop everybody now; whoever is in a request files it as interrupted."""
        self._environment.stop_timeout = 0
        with Timeout(STOP_S, exception=False):
            self._runner.quit()
        if self._page is not None:
            self._page.stop()

    def _open_page(self, port: int) -> Any:
        page = self._environment.create_web_ui(host=LOOPBACK, port=port)
        sleep(0)
        if page.greenlet.ready():
            raise PortInUse(
                f"Locust's page on port {port}", "it could not listen", next_step="another port"
            )
        return page


def beside(work: Callable[[], object]) -> Any:
    """Run in the loop, next to the users; `work` must sleep or wait often."""
    return spawn(work)


def in_thread(work: Callable[[], object]) -> object:
    """Run in a real thread while the loop goes on; returns when done."""
    return get_hub().threadpool.apply(work)


def on_stop_signal(act: Callable[[], object]) -> None:
    """Call `act` in the loop on Ctrl-C or a polite kill."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal_handler(number, act)
