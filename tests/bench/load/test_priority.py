"""The swarm goes first where it may, and says so either way."""

from __future__ import annotations

import os
import subprocess
import sys

from quantswarm.bench.load.priority import REAL_TIME, SHARED, go_first


def test_without_permission_it_runs_all_the_same_and_says_so() -> None:
    def refused(_pid: int, _policy: int, _param: os.sched_param) -> None:
        raise PermissionError(1, "Operation not permitted")

    assert go_first(refused) == SHARED


def test_children_and_threads_do_not_inherit_it() -> None:
    code = (
        "import os, threading\n"
        "from quantswarm.bench.load.priority import go_first\n"
        "said = go_first()\n"
        "seen = []\n"
        "other = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0)))\n"
        "other.start()\n"
        "other.join()\n"
        "mine = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK\n"
        "print(said, mine == os.SCHED_RR, seen == [os.SCHED_OTHER], sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    said, mine, others = done.stdout.strip().split("|")
    assert said in (REAL_TIME, SHARED)
    assert mine == str(said == REAL_TIME)
    assert others == "True"
