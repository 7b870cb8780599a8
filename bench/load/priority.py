"""The load generator runs before whatever shares its core: a late stamp is a wrong measurement.

With few cores the server's front end runs beside the swarm. Under Linux's fair scheduler the
swarm's loop then woke up to 250 ms late beside vLLM (99th percentile; 1 ms with this), and each of
those milliseconds was reported as the server's. A swarm uses a few percent of a core, so letting it
go first costs the server no more than a client on another machine would save it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

REAL_TIME = "real-time, round-robin"
SHARED = "shared with other programs: real-time needs root or CAP_SYS_NICE"


def go_first(
    set_scheduler: Callable[[int, int, os.sched_param], None] = os.sched_setscheduler,
) -> str:
    """Give the calling thread the lowest real-time priority; says what came of it.

    Threads and processes started later (makers of prompts) do not inherit it.
    """
    try:
        set_scheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        return SHARED
    return REAL_TIME
