"""All processes of one swarm, followed together: one alone, or several and Locust's master.

A process that ends otherwise than it should ends the others too, at once and with what they have.
Locust would notice a lost worker after seconds, and let the rest go on with another load.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from quantswarm.bench.load.child import Child
from quantswarm.bench.load.patience import GiveUp
from quantswarm.bench.load.progress import PHASES, Progress, together
from quantswarm.bench.load.share import Split

MODULE = "quantswarm.bench.load.swarm_child"
MASTER = "quantswarm.bench.load.swarm_master"
PREPARE_S = 180.0
"""Most time from the start to the first user: imports and prompts."""
SLACK_S = 60.0
STOP_S = 15.0
MASTER_ENDS_S = 5.0
_LOOK_S = 0.25

Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A process that ended otherwise than it should; `name` says which, `how` in what way."""

    name: str
    how: str
    log_tail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a swarm's processes ended. `loss` is the first of those lost, if any was; `given_up` the
    reason of whoever followed them to end them."""

    interrupted: bool
    loss: Loss | None
    given_up: str | None = None


class Crew:
    """One run: `run` starts the processes and returns when all have ended."""

    def __init__(self, plan_file: Path, log: Path, split: Split, longest_s: float) -> None:
        self._plan_file = plan_file
        self._log = log
        self._split = split
        self._longest_s = longest_s
        self._workers: list[Child] = []
        self._master: Child | None = None
        self._heard: set[Child] = set()
        self._loss: Loss | None = None
        self._stopping = False

    def run(self, tell: Tell) -> Ended:
        """`tell` is called about once a second. No process is left however this is left.

        Ctrl-C asks all processes to stop, a second one kills them; both return. So does `GiveUp`,
        raised by `tell`.
        """
        interrupted = False
        given_up = None
        try:
            self._start()
            self._follow(tell)
        except KeyboardInterrupt:
            interrupted = True
            self._end_by_hand()
        except GiveUp as reason:
            if any(worker.exit_code is None for worker in self._workers):
                given_up, interrupted = str(reason), self._end_by_hand()
        except BaseException:
            self._kill_all()
            raise
        finally:
            self._bury_all()
        return Ended(interrupted=interrupted, loss=self._loss, given_up=given_up)

    @property
    def _all(self) -> list[Child]:
        return [*([self._master] if self._master else []), *self._workers]

    def _start(self) -> None:
        many = self._split.processes
        if many > 1:
            log = self._log.with_suffix(f".master{self._log.suffix}")
            self._master = Child("Locust's master", MASTER, self._plan_file, log, str(many))
        for share in self._split.shares:
            log = share.path(self._log.parent, self._log.name)
            place = () if many == 1 else (str(share.worker), str(many))
            name = "its process" if many == 1 else f"worker {share.worker} of {many}"
            self._workers.append(Child(name, MODULE, self._plan_file, log, *place))

    def _follow(self, tell: Tell) -> None:
        """Until every worker has ended, or has had the time that it may take."""
        last_s = time.monotonic() + PREPARE_S + self._longest_s + SLACK_S
        with selectors.DefaultSelector() as selector:
            for child in self._all:
                selector.register(child, selectors.EVENT_READ, child)
            while any(worker.exit_code is None for worker in self._workers):
                if time.monotonic() > last_s:
                    self._lose_the_overdue()
                    return
                for key, _ in selector.select(_LOOK_S):
                    told = key.data.hear()
                    if told is None:
                        selector.unregister(key.data)
                        self._gone(key.data)
                        last_s = self._deadline(last_s)
                    elif key.data is not self._master:
                        self._pass_on(key.data, told, tell)
        tell_last = [worker.last for worker in self._workers]
        if any(tell_last):
            tell(together(tell_last))

    def _deadline(self, last_s: float) -> float:
        return min(last_s, time.monotonic() + STOP_S) if self._stopping else last_s

    def _pass_on(self, child: Child, told: list[Progress], tell: Tell) -> None:
        """Once all have told something new, or one of them twice."""
        for _ in told:
            again = child in self._heard
            self._heard.add(child)
            alive = {worker for worker in self._workers if worker.exit_code is None}
            if again or self._heard >= alive:
                self._heard = {child} if again else set()
                tell(together([worker.last for worker in self._workers]))

    def _gone(self, child: Child) -> None:
        """Bury a process that has closed its pipe; if it should not have, stop the others."""
        child.bury()
        if child.failed or child is self._master:
            self._lose(child, child.how_it_ended)
        early = child.last is None or child.last.phase != PHASES[-1]
        if self._loss is not None or early:
            self._stop_all()

    def _lose(self, child: Child, how: str) -> None:
        if self._loss is None and not self._stopping:
            self._loss = Loss(name=child.name, how=how, log_tail=child.log_tail())

    def _lose_the_overdue(self) -> None:
        for worker in self._workers:
            if worker.exit_code is None:
                self._lose(worker, "killed for being overdue")
                worker.kill()

    def _stop_all(self) -> None:
        if not self._stopping:
            self._stopping = True
            for child in self._all:
                child.ask_to_stop()

    def _end_by_hand(self) -> bool:
        """Ask all to stop, and give them some time; whether another Ctrl-C ended that."""
        again = False
        try:
            self._stop_all()
            last_s = time.monotonic() + STOP_S
            for child in self._all:
                if child.exit_code is None:
                    child.ended_within(last_s - time.monotonic())
        except KeyboardInterrupt:
            again = True
        self._kill_all()
        return again

    def _kill_all(self) -> None:
        for child in self._all:
            child.kill()

    def _bury_all(self) -> None:
        """Each of them, whatever interrupts it; the master ends when it is told that all have."""
        with ExitStack() as stack:
            if self._master is not None:
                stack.callback(self._master.bury, MASTER_ENDS_S)
                stack.callback(self._master.ask_to_stop)
            for worker in self._workers:
                stack.callback(worker.bury)
