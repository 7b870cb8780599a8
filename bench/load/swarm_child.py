"""The swarm's own process: `python -m quantswarm.bench.load.swarm_child PLAN.json STATUS_FD`,
and one of several with `WORKER OF` after it: then Locust's master says when to begin.

Warm-up, window and drain by the clock; leaves `swarm.spool` (captures) and `swarm.json` (facts) in
the plan's folder. Ctrl-C, a polite kill or a parent that has gone end it at once, spool whole.
"""

from __future__ import annotations

# First of all: Locust replaces sockets and sleeping, and everything below is to use its own.
from quantswarm.bench.load import crowd as crowds  # isort: skip

import gc
import json
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from quantswarm.bench.atomic import write_text
from quantswarm.bench.load import loop
from quantswarm.bench.load.desk import Desk
from quantswarm.bench.load.draft import usual_tokens
from quantswarm.bench.load.link import endpoint_of, resolved
from quantswarm.bench.load.open_desk import OpenDesk, PlannedPrompts
from quantswarm.bench.load.plan import FACTS, PORT, SPOOL, TALLY, SwarmPlan, loads
from quantswarm.bench.load.priority import go_first
from quantswarm.bench.load.probe import CpuMeter, LagProbe
from quantswarm.bench.load.progress import Progress, Teller
from quantswarm.bench.load.prompts import PromptPool
from quantswarm.bench.load.schedule import read_schedule
from quantswarm.bench.load.share import ALONE, Share
from quantswarm.bench.load.spool import SpoolWriter
from quantswarm.bench.load.stretches import BusyStretches
from quantswarm.bench.load.talk import TalkMaker
from quantswarm.bench.load.tally import Tally
from quantswarm.models.errors import QuantswarmError

_TICK_S = 1.0
_LOOK_S = 0.02
_QUICKEST_TOKENS_A_SECOND = 400.0  # of one user, for the number of prompts made beforehand
_MOST_PROMPTS_BEFORE = 20_000
_MOST_TOKENS_BEFORE = 3_000_000  # of prompts: some seconds of making them
_PROMPTS_AT_ONCE = 8  # so that a stop is noticed while prompts are made
_SWITCH_S = 0.0005  # a thread that makes prompts must not hold the interpreter for 5 ms


def prompts_before(plan: SwarmPlan, share: Share) -> int:
    """How many prompts to make before the start: more than any likely server will answer, and
    for an open loop those of the whole plan; of several processes, each its part."""
    prompt, answer = usual_tokens(plan.scenario, seed=plan.seed)
    most = min(_MOST_PROMPTS_BEFORE, int(_MOST_TOKENS_BEFORE / prompt))
    if plan.arrivals is not None:
        return share.part(most)
    a_user = (plan.warmup + plan.duration) * _QUICKEST_TOKENS_A_SECOND / answer
    return min(share.part(most), share.part(plan.users) * (2 + int(a_user)))


class Timeline:
    """One run from the first prompt to the last record."""

    def __init__(self, plan: SwarmPlan, desk: Desk, teller: Teller, scheduling: str) -> None:
        self._plan = plan
        self._desk = desk
        self._teller = teller
        self._scheduling = scheduling
        self._stop = threading.Event()
        self._over = False
        self._problem: str | None = None
        self._phase = "preparing"
        self._stamps: dict[str, int | None] = {
            "swarm_start_ns": None,
            "start_ns": None,
            "end_ns": None,
            "drained_ns": None,
        }
        self._lag, self._cpu = LagProbe(loop.Alarm().sleep_until), CpuMeter()
        self._stretches = BusyStretches()
        self._users_seen: set[int] = set()
        self._crowd: crowds.Crowd | None = None

    def run(self) -> dict[str, Any]:
        """Everything, and the facts of it."""
        loop.on_stop_signal(self._stop.set)
        self._tell()
        helpers = [loop.beside(self._tick), loop.beside(self._desk.warden.run)]
        self._fill(prompts_before(self._plan, self._desk.share))
        self._crowd = self._gathered()
        gc.collect()
        gc.freeze()
        gc.disable()
        helpers.append(loop.beside(self._refill))
        try:
            if self._crowd is not None:
                self._measure(self._crowd)
        finally:
            self._over = True
            self._desk.close()
            if self._crowd is not None:
                self._crowd.stop()
            for helper in helpers:
                helper.kill()
            gc.enable()
        self._stamps["drained_ns"] = time.perf_counter_ns()
        self._tell()
        return self._facts()

    def _fill(self, prompts: int) -> None:
        """Make prompts in a thread, unless the run is stopped meanwhile."""
        for begun in range(0, prompts, _PROMPTS_AT_ONCE):
            if self._stop.is_set() or self._over:
                return
            more = min(_PROMPTS_AT_ONCE, prompts - begun)
            loop.in_thread(partial(self._desk.pool.fill, more))

    def _gathered(self) -> crowds.Crowd | None:
        """The users, not yet begun; those of one of several processes have found their master.
        None when the run was stopped before."""
        if self._desk.share.of == 1:
            return crowds.Crowd(self._desk, self._fail)
        port_file = self._plan.out_dir / PORT
        while not port_file.exists():
            if self._stop.wait(_LOOK_S):
                return None
        port = int(port_file.read_text(encoding="utf-8"))
        return crowds.Worker(self._desk, self._fail, port)

    def _fail(self, error: BaseException) -> None:
        """A fault of the harness itself (a full disk, say): nothing more can be measured."""
        self._problem = self._problem or f"{type(error).__name__}: {error}"
        self._stop.set()

    def _measure(self, crowd: crowds.Crowd) -> None:
        begin_ns = crowd.start(self._stop.is_set)
        if begin_ns is None:
            return
        if self._desk.share.of > 1 and time.perf_counter_ns() > begin_ns:
            self._fail(TimeoutError("word of the common start came after it"))
            return
        start_ns = begin_ns + int(self._plan.warmup * 1e9)
        end_ns = start_ns + int(self._plan.duration * 1e9)
        self._stamps["swarm_start_ns"] = begin_ns
        self._phase = "warm-up"
        if self._wait_until(start_ns):
            self._stamps["start_ns"] = start_ns
            self._window(end_ns)
            self._phase = "drain"
            self._drain()

    def _window(self, end_ns: int) -> None:
        self._phase = "window"
        loop.beside(self._lag.run)
        unwatch = loop.watch_poll(self._stretches.sleeps, self._stretches.wakes)
        self._cpu.start()
        whole = self._wait_until(end_ns)
        self._cpu.stop()
        unwatch()
        self._stretches.stop()
        self._lag.stop()
        self._stamps["end_ns"] = end_ns if whole else time.perf_counter_ns()

    def _drain(self) -> None:
        self._desk.close()
        last_ns = time.perf_counter_ns() + int(self._plan.drain * 1e9)
        while self._desk.in_flight and time.perf_counter_ns() < last_ns:
            if self._stop.wait(_LOOK_S):
                return

    def _wait_until(self, due_ns: int) -> bool:
        """False when the run was stopped before."""
        return not self._stop.wait(max(0.0, (due_ns - time.perf_counter_ns()) / 1e9))

    def _tick(self) -> None:
        while not self._over:
            time.sleep(_TICK_S)
            self._tell()
            if self._teller.nobody_listens:
                self._stop.set()

    def _tell(self) -> None:
        users = self._crowd.users if self._crowd else 0
        if self._phase == "window":
            self._users_seen.add(users)
        begin_ns = self._stamps["swarm_start_ns"]
        elapsed_s = (time.perf_counter_ns() - begin_ns) / 1e9 if begin_ns else 0.0
        self._teller.tell(
            Progress(
                phase=self._phase,
                elapsed_s=elapsed_s,
                users=users,
                started=self._desk.started,
                finished=self._desk.finished,
                failures=self._desk.failures,
                tokens=self._desk.tokens,
                misses=self._desk.misses,
            )
        )

    def _refill(self) -> None:
        pool, low = self._desk.pool, max(8, 4 * self._desk.share.part(self._plan.users))
        while not self._over:
            time.sleep(0.05)
            if self._desk.fault is not None:
                self._fail(self._desk.fault)
            if pool.ready < low:
                self._fill(low)

    def _facts(self) -> dict[str, Any]:
        desk = self._desk
        return {
            "window": self._stamps,
            "interrupted": self._stop.is_set(),
            "problem": self._problem,
            "started": desk.started,
            "finished": desk.finished,
            "harness": {
                **self._cpu.facts(),
                **self._lag.facts(),
                **self._stretches.facts(desk.stamps, self._lag.dues_ns),
                "requests_started": desk.started,
                "prompts_made": desk.pool.made,
                "prompts_late": desk.pool.late,
                "users_seen": sorted(self._users_seen),
                "scheduling": self._scheduling,
                **(desk.facts() if isinstance(desk, OpenDesk) else {}),
            },
        }


def _run(plan: SwarmPlan, descriptor: int, share: Share) -> bool:
    """False when the harness itself failed: the facts then say how."""
    if plan.cores:
        os.sched_setaffinity(0, plan.cores)
    sys.setswitchinterval(_SWITCH_S)
    spool = SpoolWriter(share.path(plan.out_dir, SPOOL))
    desk = _desk(plan, spool, share)
    facts = Timeline(plan, desk, Teller(descriptor), go_first()).run()
    spool.close()
    write_text(share.path(plan.out_dir, FACTS), json.dumps(facts))
    return facts["problem"] is None


def _desk(plan: SwarmPlan, spool: SpoolWriter, share: Share) -> Desk:
    maker = TalkMaker(
        plan.scenario, seed=plan.seed, cell=plan.prompt_space, tokenizer=plan.tokenizer
    )
    endpoint = resolved(endpoint_of(plan.base_url))
    tally = Tally(share.path(plan.out_dir, TALLY))
    if plan.arrivals is None:
        return Desk(plan, endpoint, PromptPool(maker, share), spool, share, tally)
    schedule = share.mine(read_schedule(plan.out_dir))
    prompts = PlannedPrompts(maker, schedule)
    return OpenDesk(plan, endpoint, prompts, spool, schedule, share, tally)


def main(arguments: list[str]) -> int:
    """Exit code 0 when facts were written, also after an interruption; 1 when they tell of a fault
    of the harness."""
    plan_file, descriptor, *place = arguments
    share = Share(worker=int(place[0]), of=int(place[1])) if place else ALONE
    try:
        plan = loads(Path(plan_file).read_text(encoding="utf-8"))
        return 0 if _run(plan, int(descriptor), share) else 1
    except QuantswarmError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
