"""The project's streaming users, for Locust's own command line, master and workers.

    locust -f compose/locustfile.py

The environment names the target: QUANTSWARM_URL, QUANTSWARM_MODEL, QUANTSWARM_SCENARIO, and
QUANTSWARM_CAPTURES, the folder for each worker's raw captures.
"""

from __future__ import annotations

# First of all: Locust replaces sockets, and everything below is to use its own.
from quantswarm.bench.load.swarm_user import SwarmUser  # isort: skip

import os
import socket
from pathlib import Path
from typing import Any

from locust import events
from locust.runners import MasterRunner

from quantswarm.bench.load.desk import Desk
from quantswarm.bench.load.link import endpoint_of, resolved
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.prompts import PromptPool
from quantswarm.bench.load.scenario import scenario_named
from quantswarm.bench.load.spool import SpoolWriter
from quantswarm.bench.load.talk import TalkMaker

PROMPTS_BEFORE = 64


@events.init.add_listener  # type: ignore[untyped-decorator]  # locust ships no types
def prepare(environment: Any, **_: object) -> None:
    """Give this process's users their desk; the master has none, it only counts."""
    if isinstance(environment.runner, MasterRunner):
        return
    worker = f"{socket.gethostname()}-{os.getpid()}"
    folder = Path(os.environ.get("QUANTSWARM_CAPTURES", "build/captures"))
    folder.mkdir(parents=True, exist_ok=True)
    plan = SwarmPlan(
        base_url=os.environ.get("QUANTSWARM_URL", "http://127.0.0.1:8000/v1"),
        served_name=os.environ.get("QUANTSWARM_MODEL", "model"),
        scenario=scenario_named(os.environ.get("QUANTSWARM_SCENARIO", "default")),
        users=1,
        cell=worker,  # in every prompt's id: no two workers send the same text
        out_dir=folder,
        keeps_alive=False,  # llama.cpp closes the connection after a stream; right for all
    )
    maker = TalkMaker(plan.scenario, seed=plan.seed, cell=plan.cell, tokenizer=plan.tokenizer)
    pool = PromptPool(maker)
    pool.fill(PROMPTS_BEFORE)
    spool = SpoolWriter(folder / f"{worker}.spool")
    SwarmUser.desk = Desk(plan, resolved(endpoint_of(plan.base_url)), pool, spool)
    environment.events.quit.add_listener(lambda **_: spool.close())
