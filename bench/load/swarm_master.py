"""The process of Locust's master: `python -m quantswarm.bench.load.swarm_master PLAN STATUS_FD N`.

Waits for its N workers, names their common start, has them spawn their users, and serves Locust's
page while they run. It ends when it is told to, or when its parent has gone.
"""

from __future__ import annotations

# First of all: Locust replaces sockets and sleeping, and everything below is to use its own.
from quantswarm.bench.load import crowd as crowds  # isort: skip

import json
import os
import sys
import threading
from pathlib import Path

from quantswarm.bench.atomic import write_text
from quantswarm.bench.load import loop
from quantswarm.bench.load.plan import MASTER_FACTS, PORT, SwarmPlan, loads
from quantswarm.bench.load.probe import CpuMeter
from quantswarm.bench.load.progress import Progress, Teller
from quantswarm.models.errors import QuantswarmError

_LOOK_S = 0.02
_TICK_S = 1.0


def _run(plan: SwarmPlan, teller: Teller, workers: int) -> None:
    if plan.cores:
        os.sched_setaffinity(0, plan.cores)
    stop, cpu = threading.Event(), CpuMeter()
    loop.on_stop_signal(stop.set)
    master = crowds.Master(plan, workers)
    write_text(plan.out_dir / PORT, str(master.port))
    while not master.complete and not stop.wait(_LOOK_S):
        _tell(teller, stop, 0)
    if not stop.is_set():
        cpu.start()
        master.start()
    while not stop.wait(_TICK_S):
        _tell(teller, stop, master.users)
    if master.complete:
        cpu.stop()
    master.stop()
    write_text(plan.out_dir / MASTER_FACTS, json.dumps(cpu.facts()))


def _tell(teller: Teller, stop: threading.Event, users: int) -> None:
    """A sign of life, which at the same time finds out whether the parent lives."""
    counts = {"started": 0, "finished": 0, "failures": 0, "tokens": 0}
    teller.tell(Progress(phase="preparing", elapsed_s=0.0, users=users, **counts))
    if teller.nobody_listens:
        stop.set()


def main(arguments: list[str]) -> int:
    """Exit code 0 unless it could not begin at all."""
    plan_file, descriptor, workers = arguments
    try:
        plan = loads(Path(plan_file).read_text(encoding="utf-8"))
        _run(plan, Teller(int(descriptor)), int(workers))
    except QuantswarmError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
