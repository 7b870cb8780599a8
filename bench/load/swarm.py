"""Drive one cell: start the swarm's processes, follow them, turn what they caught into records."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from quantswarm.bench.load.crew import Crew
from quantswarm.bench.load.harvest import LOG, RECORDS, Planned, SwarmResult, harvest
from quantswarm.bench.load.link import endpoint_of
from quantswarm.bench.load.patience import patience_of
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.progress import Progress
from quantswarm.bench.load.schedule import SCHEDULE, check_schedule, schedule_of, write_schedule
from quantswarm.bench.load.share import check_split, split_of
from quantswarm.models.errors import BadFile, PortInUse, UserMistake

__all__ = ["PLAN", "RECORDS", "SwarmResult", "check", "drive"]

PLAN = "swarm-plan.json"


def drive(plan: SwarmPlan, on_progress: Callable[[Progress], None] | None = None) -> SwarmResult:
    """Run the plan to its end and write `records.jsonl` in its folder.

    `on_progress` is called about once a second. Ctrl-C stops the swarm, keeps what it caught and
    returns with `interrupted`; a second one kills it, and still keeps that. Raises `UserMistake`,
    `PortInUse`, `BadFile` before anything starts, `RunFailed` when the process died by itself.
    """
    check(plan)
    schedule = schedule_of(plan)
    if plan.arrivals is not None:
        check_schedule(plan, schedule)
    _clear(plan.out_dir)
    digest = write_schedule(plan.out_dir, schedule) if plan.arrivals is not None else None
    plan_file = plan.out_dir / PLAN
    plan_file.write_text(plan.dumps(), encoding="utf-8")
    split, longest_s = split_of(plan), plan.warmup + plan.duration + plan.drain
    crew = Crew(plan_file, plan.out_dir / LOG, split, longest_s)
    tell = on_progress or (lambda _: None)
    patience = patience_of(plan, schedule)
    ended = crew.run(patience.watching(tell) if patience else tell)
    return harvest(plan, split, ended, Planned(arrivals=schedule, digest=digest))


def check(plan: SwarmPlan) -> None:
    """Everything about a plan that can be known to be wrong before it runs."""
    endpoint_of(plan.base_url)
    if plan.arrivals is not None:
        plan.arrivals.check()
    elif plan.users < 1:
        raise UserMistake(f"{plan.users} users", "a swarm needs one", next_step="give USERS=1")
    check_split(plan, split_of(plan))
    for file in (plan.tokenizer, plan.api_key_file):
        if file is not None and not file.exists():
            raise BadFile(f"file {file}", "it does not exist", next_step="check the path")
    if (plan.out_dir / RECORDS).exists():
        raise BadFile(
            f"output folder {plan.out_dir}",
            "it holds records already, and measurements are never overwritten",
            next_step="give another folder, or remove this one",
        )
    if plan.ui_port is not None:
        _check_port(plan.ui_port)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortInUse(
                f"Locust's page on port {port}",
                f"it cannot be opened ({error.strerror})",
                next_step="choose another port with --ui-port",
            ) from None


def _clear(folder: Path) -> None:
    """Leftovers of a run that was killed before its records were written."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("swarm.*", SCHEDULE, f"{RECORDS}.partial"):
        for left in folder.glob(pattern):
            left.unlink()
