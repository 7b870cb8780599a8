"""One client against one freshly started server of known timing, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantswarm.bench.cell import measure, plan_for
from quantswarm.bench.judge.cell import judge
from quantswarm.bench.judge.manifest import Manifest
from quantswarm.bench.judge.records import read_records
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.priority import go_first
from quantswarm.bench.load.scenario import Scenario
from quantswarm.bench.selection import NO_QUANT
from quantswarm.bench.selftest.cases import PROMPT_TOKENS, TimedCase
from quantswarm.bench.selftest.compare_ledger import Entry, errors_of, miscounts, read_ledger
from quantswarm.bench.selftest.reference import Driven, drive_reference
from quantswarm.bench.selftest.verdict import Run
from quantswarm.bench.subject import Subject
from quantswarm.engines.base import ServeSpec
from quantswarm.engines.placement import Placement
from quantswarm.engines.readiness import free_port
from quantswarm.engines.registry import engine_named
from quantswarm.engines.server import Server, running

ENGINE = "scripted"
LEDGER = "ledger.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run happens: a folder of its own, and the cores of either side."""

    folder: Path
    server_cores: tuple[int, ...]
    client_cores: tuple[int, ...]

    def inside(self, name: str) -> Place:
        """The same cores, a folder further down."""
        return Place(
            folder=self.folder / name,
            server_cores=self.server_cores,
            client_cores=self.client_cores,
        )


def place_of(placed: Placement, folder: Path) -> Place:
    """One core for either side: both have one thread that matters."""
    return Place(
        folder=folder, server_cores=placed.server_cores[:1], client_cores=placed.client_cores[:1]
    )


@contextmanager
def known_server(place: Place, *, first: bool = False, behaviour: str = "") -> Iterator[Server]:
    """A server that writes its ledger into the folder, complete once it has ended.

    `first`: it runs before whatever else is on its core, where that is permitted. `behaviour` is
    that of every request whose model name says nothing else.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    spec = ServeSpec(
        host="127.0.0.1",
        port=free_port("127.0.0.1"),
        served_name=ENGINE,
        threads=1,
        cores=place.server_cores,
        slots=1024,
        context_tokens=32_768,
        options={
            "ledger": str(place.folder / LEDGER),
            "behaviour": behaviour,
            **_pinned(place.server_cores),
        },
    )
    log = place.folder / "server-start.log"
    with running(engine_named(ENGINE), None, spec, (), log=log) as server:
        if first:
            go_first(lambda _, policy, param: os.sched_setscheduler(server.pid, policy, param))
        yield server


def _pinned(cores: tuple[int, ...]) -> dict[str, str]:
    return {"process_cores": ",".join(map(str, cores))} if cores else {}


def subject_of(server: Server, behaviour: str, place: Place) -> Subject:
    """The server under the name that tells it how to behave."""
    return Subject(
        engine=ENGINE,
        quant=NO_QUANT,
        model=ENGINE,
        base_url=server.base_url,
        served_name=f"{ENGINE}:{behaviour}",
        pinned_by=ENGINE,
        client_cores=place.client_cores,
        facts={"placement": {"server": place.server_cores, "client": place.client_cores}},
        server=server,
    )


def scenario_of(name: str, output_tokens: int, prompt_tokens: int = PROMPT_TOKENS) -> Scenario:
    """Completions of exactly these lengths."""
    return Scenario(
        name=name, api="completions", prompt_tokens=prompt_tokens, output_tokens=output_tokens
    )


def ledger_of(place: Place, behaviour: str) -> tuple[Entry, ...]:
    """The server's entries of this load, without the request that proved it ready."""
    entries = read_ledger(place.folder / LEDGER)
    return tuple(entry for entry in entries if entry.model == f"{ENGINE}:{behaviour}")


def run_harness(case: TimedCase, place: Place) -> Run:
    """The whole harness as for any cell: swarm, sampler, manifest, judge."""
    with known_server(place, first=True) as server:
        subject = subject_of(server, case.behaviour, place)
        plan = _plan(case, subject, place)
        measure(subject, plan, lambda _: None)
    judged = judge(place.folder)
    entries = ledger_of(place, case.behaviour)
    records = read_records(place.folder / "records.jsonl").records
    window = judged.manifest.window
    assert window is not None
    return Run(
        errors=errors_of(records, entries, window, judged.rates.get("output_throughput")),
        miscounts=miscounts(records, entries),
        cpu_share=judged.manifest.harness_number("cpu_share"),
        cpu_us_per_token=judged.manifest.harness_number("cpu_us_per_token"),
        flagged=None if judged.status == "ok" else judged.reason,
        host_lag_p99_ms=_host_lag_ms(judged.manifest),
    )


def _host_lag_ms(manifest: Manifest) -> float | None:
    """How much later stamps were than the harness's own work made them."""
    lags = [manifest.harness_number(f"{part}_lag_p99_ms") for part in ("stamp", "own")]
    return None if lags[0] is None or lags[1] is None else lags[0] - lags[1]


def run_reference(case: TimedCase, place: Place) -> Run:
    """The bare client."""
    with known_server(place, first=True) as server:
        subject = subject_of(server, case.behaviour, place)
        driven = drive_reference(_plan(case, subject, place))
    return _reference_run(driven, ledger_of(place, case.behaviour))


def _reference_run(driven: Driven, entries: tuple[Entry, ...]) -> Run:
    return Run(
        errors=errors_of(driven.records, entries, driven.window, driven.throughput),
        miscounts=miscounts(driven.records, entries),
        cpu_share=driven.cpu_share,
        cpu_us_per_token=None,
    )


def _plan(case: TimedCase, subject: Subject, place: Place) -> SwarmPlan:
    return plan_for(
        subject,
        scenario=scenario_of(case.name, case.output_tokens, case.prompt_tokens),
        users=case.users,
        out_dir=place.folder,
        cell=f"{case.name}/{place.folder.name}",
        warmup_s=case.warmup_s,
        duration_s=case.duration_s,
        drain_s=case.drain_s,
    )
