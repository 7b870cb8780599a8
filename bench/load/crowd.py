"""The users as one: started, counted, stopped; alone, or over several processes under a master."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import locust
from gevent import Timeout, sleep
from gevent.event import Event

from quantswarm.bench.load.desk import Desk
from quantswarm.bench.load.open_desk import OpenDesk
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.share import Share
from quantswarm.bench.load.swarm_user import Dispatcher, SwarmUser
from quantswarm.models.errors import PortInUse

LOOPBACK = "127.0.0.1"
STOP_S = 10.0
LEAD_NS = 200_000_000
"""For Locust to start, before an open loop's first arrival."""
FAR_LEAD_NS = 1_000_000_000
"""For word of the start to reach every worker before it comes."""
_READY, _BEGIN = "quantswarm_ready", "quantswarm_begin"


class Crowd:
    """The users as one: started, counted, stopped; with Locust's page when a port is given."""

    def __init__(self, desk: Desk, on_fault: Callable[[BaseException], None]) -> None:
        self._desk = desk
        self._kind = _kind_of(desk.plan)
        self._kind.desk = desk
        self._environment = _environment(desk.plan)
        # Locust would log what a user's code raises and go on.
        self._environment.events.user_error.add_listener(lambda exception, **_: on_fault(exception))
        self._runner: Any = self._enlist()
        self._page = None if desk.share.of > 1 else _page(self._environment, desk.plan.ui_port)

    def _enlist(self) -> Any:
        return self._environment.create_local_runner()

    @property
    def users(self) -> int:
        """Users alive now; in an open loop, requests in flight."""
        if isinstance(self._desk, OpenDesk):
            return self._desk.flying
        return int(self._runner.user_count)

    def start(self, stopped: Callable[[], bool]) -> int | None:
        """Open the desk and spawn all at once; each then waits for its own moment (`Desk.turn_ns`).

        Returns the swarm's start; None when the run was `stopped` before.
        """
        if stopped():
            return None
        lead_ns = LEAD_NS if isinstance(self._desk, OpenDesk) else 0
        begin_ns = time.perf_counter_ns() + lead_ns
        self._desk.open_at(begin_ns)
        users = _locust_users(self._desk.plan, 1)
        self._runner.start(users, spawn_rate=users)
        return begin_ns

    def stop(self) -> None:
        """Stop everybody now; whoever is in a request files it as interrupted."""
        self._environment.stop_timeout = 0
        with Timeout(STOP_S, exception=False):
            self._runner.quit()
        if self._page is not None:
            self._page.stop()


class Worker(Crowd):
    """The users of one of several processes, which Locust's master has spawned and counts."""

    def __init__(self, desk: Desk, on_fault: Callable[[BaseException], None], port: int) -> None:
        self._port = port
        self._told = Event()
        super().__init__(desk, on_fault)
        self._runner.register_message(_BEGIN, self._begin)

    def _enlist(self) -> Any:
        return self._environment.create_worker_runner(LOOPBACK, self._port)

    def _begin(self, msg: Any, **_: object) -> None:
        # Before any user is spawned: the master sends this first, over the same connection.
        self._desk.open_at(msg.data["at_ns"])
        self._told.set()

    def start(self, stopped: Callable[[], bool]) -> int | None:
        """Report for duty and wait until the master has named the start."""
        self._runner.send_message(_READY, {"worker": self._desk.share.worker})
        while not self._told.wait(0.02):
            if stopped():
                return None
        return self._desk.opens_ns

    def stop(self) -> None:
        super().stop()
        self._runner.client.close(linger=0)


class Master:
    """Locust's master: has its workers spawn their users, counts them, serves the page.

    What must be exact does not pass through it (docs/adr/0004-workers.md).
    """

    def __init__(self, plan: SwarmPlan, workers: int) -> None:
        self._plan = plan
        self._workers = workers
        self._numbers: dict[str, int] = {}
        self._environment = _environment(plan)
        self._environment.dispatcher_class = partial(_ByNumber, self._numbers, workers)
        self._runner: Any = self._environment.create_master_runner(LOOPBACK, 0)
        self._runner.register_message(_READY, self._ready)
        self._page = _page(self._environment, plan.ui_port)

    @property
    def port(self) -> int:
        """Where it listens for workers: a free port of the loopback device."""
        return int(self._runner.server.port)

    @property
    def complete(self) -> bool:
        """Whether every worker is ready to begin."""
        return len(self._numbers) == self._workers

    @property
    def users(self) -> int:
        """Locust's users, as its workers reported them last."""
        return int(self._runner.user_count)

    def _ready(self, msg: Any, **_: object) -> None:
        self._numbers[msg.node_id] = msg.data["worker"]

    def start(self) -> None:
        """Name one start to all, then have them spawn their users."""
        begin_ns = time.perf_counter_ns() + FAR_LEAD_NS
        self._runner.send_message(_BEGIN, {"at_ns": begin_ns})
        users = _locust_users(self._plan, self._workers)
        self._runner.start(users, spawn_rate=users)

    def stop(self) -> None:
        """Leave; the workers end by themselves."""
        self._runner.greenlet.kill(timeout=STOP_S)
        self._runner.server.close(linger=0)
        if self._page is not None:
            self._page.stop()


class _ByNumber:
    """Deals users out by their number. Locust's own dispatcher goes by the order of the workers'
    random names, and hands the users of a lost worker to the others."""

    dispatch_in_progress = False

    def __init__(
        self, numbers: Mapping[str, int], workers: int, *, user_classes: Any, **_: object
    ) -> None:
        self._numbers = numbers
        self._workers = workers
        self._kind = user_classes[0].__name__
        self._waiting: list[dict[str, dict[str, int]]] = []

    def new_dispatch(self, target_user_count: int, **_: object) -> None:
        """Locust's hook: this many users are wanted, here all at once."""
        shares = {n: Share(worker=w, of=self._workers) for n, w in self._numbers.items()}
        dealt = {name: {self._kind: s.part(target_user_count)} for name, s in shares.items()}
        self._waiting = [dealt]

    def __iter__(self) -> Iterator[dict[str, dict[str, int]]]:
        return self

    def __next__(self) -> dict[str, dict[str, int]]:
        if not self._waiting:
            raise StopIteration
        return self._waiting.pop()

    def add_worker(self, worker_node: Any) -> None:
        """Locust's hook."""

    def remove_worker(self, worker_node: Any) -> None:
        """Locust's hook: nobody takes over."""


def _kind_of(plan: SwarmPlan) -> Any:
    return SwarmUser if plan.arrivals is None else Dispatcher


def _locust_users(plan: SwarmPlan, processes: int) -> int:
    """What Locust spawns: the users, or for an open loop one dispatcher in each process."""
    return plan.users if plan.arrivals is None else processes


def _environment(plan: SwarmPlan) -> Any:
    """Users taken away on the page finish the request they are in."""
    return locust.env.Environment(
        user_classes=[_kind_of(plan)], host=plan.base_url, stop_timeout=plan.limits.total_s
    )


def _page(environment: Any, port: int | None) -> Any:
    """Locust's page on that port; None without one."""
    if port is None:
        return None
    page = environment.create_web_ui(host=LOOPBACK, port=port)
    sleep(0)
    if page.greenlet.ready():
        raise PortInUse(
            f"Locust's page on port {port}", "it could not listen", next_step="another port"
        )
    return page
