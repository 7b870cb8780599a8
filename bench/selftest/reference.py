"""The reference client beside the harness: the same requests, from a process that does no more."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench.judge.rate import output_throughput
from quantswarm.bench.judge.records import Record, read_records
from quantswarm.bench.judge.window import Window, cut
from quantswarm.bench.load.convert import convert
from quantswarm.bench.load.link import endpoint_of
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.prompts import PromptMaker
from quantswarm.bench.load.shaping import Shaper
from quantswarm.models.errors import RunFailed

MODULE = "quantswarm.bench.selftest.reference_client"
START_S = 15.0
QUICKEST_TOKENS_A_SECOND = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Driven:
    """What a client made of a plan, in the same terms for either client."""

    records: tuple[Record, ...]
    window: Window
    throughput: float | None
    cpu_share: float | None


def drive_reference(plan: SwarmPlan) -> Driven:
    """Run the plan's load with bare sockets; raises `RunFailed` when that client failed."""
    plan.out_dir.mkdir(parents=True, exist_ok=True)
    file = plan.out_dir / "reference-plan.json"
    file.write_text(json.dumps(_orders(plan)), encoding="utf-8")
    limit_s = START_S + plan.warmup + plan.duration + plan.drain
    command = [sys.executable, "-P", "-m", MODULE, str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise RunFailed("the reference client", f"not done after {limit_s:.0f} s") from None
    if done.returncode:
        raise RunFailed("the reference client", "failed", evidence=done.stderr[-2000:])
    facts = json.loads((plan.out_dir / "reference.json").read_text(encoding="utf-8"))
    return _driven(plan, facts)


def _orders(plan: SwarmPlan) -> dict[str, Any]:
    """The child's plan; payloads are bytes of ASCII, and go as text."""
    endpoint = endpoint_of(plan.base_url)
    asked, answered = _lengths(plan)
    maker = PromptMaker(tokens=asked, seed=plan.seed, cell=plan.prompt_space, tokenizer=None)
    shaper = Shaper(plan, endpoint)
    prompts = [maker.make(number) for number in range(_most_requests(plan))]
    return {
        "address": [endpoint.address, endpoint.port],
        "users": plan.users,
        "cores": list(plan.cores),
        "warmup_s": plan.warmup,
        "duration_s": plan.duration,
        "drain_s": plan.drain,
        "output_tokens": answered,
        "requests": [[one.uid, shaper.payload(one).decode("latin-1")] for one in prompts],
    }


def _lengths(plan: SwarmPlan) -> tuple[int, int]:
    """The reference asks for one length in and one out."""
    asked, answered = plan.scenario.prompt_tokens, plan.scenario.output_tokens
    assert isinstance(asked, int)
    assert isinstance(answered, int)
    return asked, answered


def _most_requests(plan: SwarmPlan) -> int:
    answered = _lengths(plan)[1]
    a_user = (plan.warmup + plan.duration) * QUICKEST_TOKENS_A_SECOND / answered
    return plan.users * (2 + int(a_user))


def _driven(plan: SwarmPlan, facts: dict[str, Any]) -> Driven:
    window = Window(**facts["window"])
    path: Path = plan.out_dir / "records.jsonl"
    convert(plan.out_dir / "reference.spool", path, window.holds)
    records = read_records(path).records
    return Driven(
        records=records,
        window=window,
        throughput=output_throughput(cut(records, window, users=plan.users)),
        cpu_share=facts["cpu_share"],
    )
