"""One cell by itself: against a server started for it, or one that is already running."""

from __future__ import annotations

import dataclasses
import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from quantswarm.bench.cell import measure, plan_for
from quantswarm.bench.load.arrivals import Arrivals
from quantswarm.bench.load.fit import need_of
from quantswarm.bench.load.link import endpoint_of, resolved
from quantswarm.bench.load.scenario import Scenario, scenario_named, with_data
from quantswarm.bench.matrix import Matrix, Variant
from quantswarm.bench.physics.before import physics_of
from quantswarm.bench.physics.said import say_ceilings
from quantswarm.bench.rundir import fresh_cell, open_run
from quantswarm.bench.selection import NO_QUANT, select
from quantswarm.bench.slo import Slo
from quantswarm.bench.subject import EXTERNAL, Subject, external, fitted, served
from quantswarm.bench.ticker import Ticker
from quantswarm.engines import hardware, placement
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.process import key_in
from quantswarm.engines.server import progress, running
from quantswarm.models.errors import BadFile, NotAvailable

Say = Callable[[str], None]
Drive = Callable[[Subject, Variant, Path, Scenario, "Load", Say], None]
"""What is done with a server that is ready: one cell, or a search of many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the users do; durations left None are the scenario's. With `arrivals` the loop is open,
    and `users` only says for how many a started server makes room. `data` is a data set whose
    prompts take the place of the scenario's. Figures of the machine from before `measure_since`
    are taken again."""

    scenario: str
    users: int
    warmup_s: float | None = None
    duration_s: float | None = None
    seed: int = 0
    ui_port: int | None = None
    out: Path | None = None
    arrivals: Arrivals | None = None
    data: Path | None = None
    slo: Slo | None = None
    purpose: str = "swarm"
    measure_since: datetime | None = None

    def read(self) -> Scenario:
        """The scenario, asking what is in `data` and held to `slo` where they are given."""
        scenario = scenario_named(self.scenario)
        if self.data is not None:
            scenario = with_data(scenario, self.data)
        return scenario if self.slo is None else dataclasses.replace(scenario, slo=self.slo)

    processes: int | None = None


def drive_cell(
    subject: Subject, variant: Variant, run: Path, scenario: Scenario, load: Load, say: Say
) -> None:
    """Measure the one cell that the load describes."""
    cell = _matrix(variant, load).cells()[0]
    plan = plan_for(
        subject,
        scenario=scenario,
        users=cell.users,
        arrivals=cell.arrivals,
        out_dir=fresh_cell(run, cell.name),
        cell=cell.name,
        warmup_s=load.warmup_s,
        duration_s=load.duration_s,
        seed=load.seed,
        ui_port=load.ui_port,
        processes=load.processes,
    )
    if load.ui_port is not None:
        say(f"Locust's page: http://127.0.0.1:{load.ui_port}")
    measure(subject, plan, Ticker(say, cell.name))


def drive_started(
    names: tuple[str, str | None, str],
    options: ServeOptions,
    load: Load,
    say: Say,
    drive: Drive = drive_cell,
) -> Path:
    """Start the server of (engine, quantization, model), drive it, stop it; the run directory."""
    scenario = load.read()
    if options.api_key_file is not None:
        key_in(options.api_key_file)  # refuses a file without a key before anything is built
    selection = select(*names)
    fitting = fitted(options, scenario, selection.artefact, seed=load.seed)
    prepared = prepare(
        selection.engine, selection.recipe, selection.artefact, fitting, found=selection.found
    )
    variant = Variant(engine=selection.engine.name, quant=selection.quant, model=selection.model)
    physics = physics_of(selection, prepared, since=load.measure_since, say=say)
    say_ceilings(physics, scenario, () if load.arrivals else (load.users,), say)
    run = _open(variant, load)
    with running(
        selection.engine,
        selection.artefact,
        prepared.spec,
        prepared.flags,
        found=selection.found,
        log=run / "servers" / f"{variant.name}.log",
        on_wait=progress,
    ) as server:
        subject = served(selection, prepared, server, physics=physics)
        drive(subject, variant, run, scenario, load, say)
    return run


def drive_url(
    url: str,
    served_name: str | None,
    options: ServeOptions,
    load: Load,
    say: Say,
    drive: Drive = drive_cell,
) -> Path:
    """Drive the server at `url` (any OpenAI-compatible one); the run directory."""
    scenario = load.read()
    need_of(scenario, None)  # refuses a data set that cannot be asked without a tokenizer
    base = base_url_of(url)
    resolved(endpoint_of(base))  # refuses what is no URL, or a host that nobody knows
    name = served_name or first_model(base, options.api_key_file)
    variant = Variant(engine=EXTERNAL, quant=NO_QUANT, model=name)
    run = _open(variant, load)
    placed = placement.plan(
        hardware.host().core_groups,
        server_cores=options.server_cores,
        client_cores=options.client_cores,
    )
    subject = dataclasses.replace(
        external(base, name, options.api_key_file), client_cores=placed.client_cores
    )
    drive(subject, variant, run, scenario, load, say)
    return run


def _open(variant: Variant, load: Load) -> Path:
    return open_run(_matrix(variant, load), load.out, resume=False, host=hardware.host().as_dict())


def _matrix(variant: Variant, load: Load) -> Matrix:
    return Matrix(
        name=load.purpose,
        model=variant.model,
        scenario=load.scenario,
        users=() if load.arrivals else (load.users,),
        variants=(variant,),
        warmup_s=load.warmup_s,
        duration_s=load.duration_s,
        seed=load.seed,
        arrivals=load.arrivals,
        processes=load.processes,
    )


def base_url_of(url: str) -> str:
    """As users type it, with its scheme and without a slash at its end."""
    return (url if "://" in url else f"http://{url}").rstrip("/")


def first_model(url: str, api_key_file: Path | None) -> str:
    """The first model id that `GET /models` lists; clear words when nothing answers."""
    end = endpoint_of(url)
    headers = {"Authorization": f"Bearer {key_in(api_key_file)}"} if api_key_file else {}
    kind = http.client.HTTPSConnection if end.tls else http.client.HTTPConnection
    connection = kind(end.hostname, end.port, timeout=10)
    try:
        connection.request("GET", f"{end.path}/models", headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        what = "no answer" if isinstance(error, OSError) else "what answers does not speak HTTP"
        raise NotAvailable(
            f"server at {url}",
            f"{what} ({error})",
            next_step="check --url, or start the server",
        ) from None
    finally:
        connection.close()
    try:
        return str(json.loads(text)["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError):
        raise BadFile(
            f"{url}/models",
            f"HTTP {answer.status}, not a list of models",
            evidence=text[:300],
            next_step="check that --url ends in /v1, give --served-name, or --api-key-file",
        ) from None
