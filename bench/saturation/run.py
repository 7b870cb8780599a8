"""A search against one server: every trial is an ordinary cell of an open loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantswarm.bench.cell import measure, plan_for
from quantswarm.bench.judge.cell import judge
from quantswarm.bench.judge.summary import cell_as_json
from quantswarm.bench.load.arrivals import Arrivals
from quantswarm.bench.load.scenario import Scenario
from quantswarm.bench.matrix import Variant
from quantswarm.bench.rundir import fresh_cell, write_json
from quantswarm.bench.saturation.outcome import FILE, document, trial_of, words
from quantswarm.bench.saturation.search import Settings, Trial, search
from quantswarm.bench.single import Load
from quantswarm.bench.subject import Subject
from quantswarm.bench.ticker import Ticker
from quantswarm.models.errors import RunFailed

FEWEST_ARRIVALS = 10
"""In a window, on average: a search that looks downwards stops where fewer would come."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quest:
    """What to search for. Its `drive` is what `drive_started` and `drive_url` are given; every
    trial's rate takes the place of the load's."""

    settings: Settings

    def drive(
        self,
        subject: Subject,
        variant: Variant,
        run: Path,
        scenario: Scenario,
        load: Load,
        say: Say,
    ) -> None:
        """Search, and leave `saturation.json` in the run, also when it is broken off.

        A server that dies under a load ends the search with what is known by then.
        """
        trials = _Trials(subject, variant, run, scenario, load, say, self.settings.share)
        ended: str | None = "interrupted"
        try:
            search(trials.ask, self.settings)
            ended = None
        except RunFailed as error:
            ended = str(error)
            say(ended)
        finally:
            found = document(
                dataclasses.asdict(self.settings),
                [cell["cell"] for cell in trials.cells],
                trials.cells,
                ended,
            )
            write_json(run / FILE, found)


@dataclass
class _Trials:
    """The oracle of a search: measures a rate, judges the cell, says how it went."""

    subject: Subject
    variant: Variant
    run: Path
    scenario: Scenario
    load: Load
    say: Say
    share: float
    cells: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, rate: float, before: int) -> Trial:
        """One trial; the seed of the arrivals and prompts is another for each of a rate."""
        name = f"{self.variant.name}-t{len(self.cells) + 1:02d}-r{rate:g}"
        folder = fresh_cell(self.run, name)
        plan = plan_for(
            self.subject,
            scenario=self.scenario,
            users=0,
            arrivals=dataclasses.replace(self.load.arrivals or Arrivals(), rate=rate),
            out_dir=folder,
            cell=name,
            warmup_s=self.load.warmup_s,
            duration_s=self.load.duration_s,
            seed=self.load.seed + before,
            ends_early=True,
        )
        try:
            measure(self.subject, plan, Ticker(self.say, name))
        except RunFailed:
            self.cells.append(cell_as_json(judge(folder)))
            raise
        cell = cell_as_json(judge(folder))
        self.cells.append(cell)
        trial = trial_of(cell)
        self.say(f"{name}: {words(trial, self.share)}{_why(cell, trial)}")
        return trial


def _why(cell: dict[str, Any], trial: Trial) -> str:
    if not trial.valid:
        return f" ({cell['reason']})"
    return f", {trial.requests - trial.misses} of {trial.requests} met the objectives"
