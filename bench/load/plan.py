"""Everything the swarm's process must know, as one value that goes through a JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from quantswarm.bench.load.arrivals import Arrivals, arrivals_from
from quantswarm.bench.load.capture import Limits
from quantswarm.bench.load.scenario import Scenario, scenario_from_json

MOST_USERS_A_PROCESS = 64
SPOOL = "swarm.spool"
FACTS = "swarm.json"
TALLY = "swarm.begun"
PORT = "swarm.port"
MASTER_FACTS = "swarm.master.json"
"""What the swarm's processes leave in `out_dir`; `Share.path` tells the files of several apart.
Spool and tally are there until they are harvested. The port is where Locust's master listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmPlan:
    """One cell's load. Durations left None are the scenario's.

    `pinned_by` names the engine whose request fields make each answer exactly as long as asked;
    they are laid over the request's own, one level deep. None sends OpenAI's fields alone. `cell`
    separates the prompts of cells that share a seed. `cores` pins the load generator; empty leaves
    it alone. `arrivals` None is the closed loop: each of `users` asks again when it is answered.
    Otherwise the loop is open, and `users` means nothing. One that `ends_early` is stopped once it
    is sure to miss its objectives.
    """

    base_url: str
    served_name: str
    scenario: Scenario
    users: int
    out_dir: Path
    cell: str = ""
    warmup_s: float | None = None
    duration_s: float | None = None
    drain_s: float | None = None
    pinned_by: str | None = None
    keeps_alive: bool = True
    api_key_file: Path | None = None
    tokenizer: Path | None = None
    seed: int = 0
    cores: tuple[int, ...] = ()
    ui_port: int | None = None
    limits: Limits = field(default_factory=Limits)
    arrivals: Arrivals | None = None
    ends_early: bool = False
    processes: int | None = None

    @property
    def prompt_space(self) -> str:
        """What prompts are unique to: `cell`, or the output folder's name where that is empty."""
        return self.cell or self.out_dir.name

    @property
    def warmup(self) -> float:
        """Seconds of load before the window."""
        return self.scenario.warmup_s if self.warmup_s is None else self.warmup_s

    @property
    def duration(self) -> float:
        """Seconds of the measurement window."""
        return self.scenario.duration_s if self.duration_s is None else self.duration_s

    @property
    def drain(self) -> float:
        """Most seconds that requests in flight are waited for after the window."""
        return self.scenario.drain_s if self.drain_s is None else self.drain_s

    def dumps(self) -> str:
        """JSON text that `loads` turns back into an equal plan; holds no secret."""
        document = {**asdict(self), "scenario": self.scenario.as_json()}
        return json.dumps(document, default=str, indent=1)


def loads(text: str) -> SwarmPlan:
    """The plan that `dumps` wrote."""
    raw = json.loads(text)
    key_file, tokenizer = raw.pop("api_key_file"), raw.pop("tokenizer")
    arrivals = raw.pop("arrivals")
    return SwarmPlan(
        scenario=scenario_from_json(raw.pop("scenario")),
        limits=Limits(**raw.pop("limits")),
        out_dir=Path(raw.pop("out_dir")),
        cores=tuple(raw.pop("cores")),
        api_key_file=Path(key_file) if key_file is not None else None,
        tokenizer=Path(tokenizer) if tokenizer is not None else None,
        arrivals=arrivals_from(arrivals) if arrivals is not None else None,
        **raw,
    )
