"""quantswarm itself: the swarm as for any cell, with its records read as for any report."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from quantswarm.bench.selftest.parity.peer import (
    ITL,
    TPOT,
    TTFT,
    Load,
    Meaning,
    Peer,
    Quantiles,
    Reported,
    Seen,
    Start,
    result_in,
)

PLAN, FACTS = "peer-plan.json", "swarm.json"


class Quantswarm(Peer):
    """Driven by time and not by a count: it gets as long as the others' requests take."""

    name: ClassVar[str] = "quantswarm"
    summary: ClassVar[str] = "this project's swarm"
    meanings: ClassVar[Mapping[str, Meaning]] = {
        TTFT: Meaning(called="ttft", formula="ttft"),
        TPOT: Meaning(called="tpot", formula="tpot"),
        ITL: Meaning(called="itl", formula="itl"),
    }

    def version(self) -> str:
        """The installed distribution's."""
        return importlib.metadata.version("quantswarm")

    def start(self, python: Path, load: Load) -> Start:
        """This file, as a program, with the swarm's own plan."""
        from quantswarm.bench.load.plan import SwarmPlan
        from quantswarm.bench.load.scenario import Scenario

        scenario = Scenario(
            name="peers",
            api=load.api,
            prompt_tokens=load.prompt_tokens,
            output_tokens=load.output_tokens,
        )
        plan = SwarmPlan(
            base_url=f"{load.root_url}/v1",
            served_name=load.model,
            scenario=scenario,
            users=load.users,
            out_dir=load.folder,
            cell=str(load.folder),
            warmup_s=0.0,
            duration_s=_window_s(load),
            drain_s=10.0 + load.lasts_s,
            pinned_by="scripted",
        )
        file = load.folder / PLAN
        file.write_text(plan.dumps(), encoding="utf-8")
        return Start(argv=(str(python), "-P", "-m", __name__, str(file)))

    def read(self, load: Load) -> Reported:
        """By the judge's formulas, over all requests: no warm-up, nothing outside the window."""
        from quantswarm.bench.judge.latency import itl, tpot, ttft
        from quantswarm.bench.judge.rate import output_throughput
        from quantswarm.bench.judge.records import read_records
        from quantswarm.bench.judge.window import Window, cut
        from quantswarm.bench.selftest.parity.truth import quantiles

        records = read_records(load.folder / "records.jsonl").records
        window = Window(**result_in(load.folder / FACTS)["window"])
        whole = [record for record in records if record.ok]
        latencies: dict[str, Quantiles] = {
            name: quantiles(value for record in whole for value in of(record))
            for name, of in ((TTFT, ttft), (TPOT, tpot), (ITL, itl))
        }
        return Reported(
            latencies=latencies,
            output_tokens=sum(record.output_tokens or 0 for record in whole),
            output_tokens_per_s=output_throughput(cut(records, window, users=load.users)),
            span_ns=(window.start_ns, window.end_ns),
            succeeded=len(whole),
            failed=len(records) - len(whole),
            requests=tuple(
                Seen(id=record.id, ok=record.ok, started_s=record.intended_ns / 1e9)
                for record in records
            ),
        )


def _window_s(load: Load) -> float:
    """Half a request less than the others take: nobody begins one round more than they do."""
    rounds = load.requests / load.users
    return load.lasts_s * (rounds - 0.5) / rounds


PEER = Quantswarm()


def main(arguments: list[str]) -> int:
    """Drive the plan; what it leaves is in its folder."""
    from quantswarm.bench.load.plan import loads
    from quantswarm.bench.load.swarm import drive

    drive(loads(Path(arguments[0]).read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
