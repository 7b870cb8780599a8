"""Where our client's processor time goes: `python -m quantswarm.bench.selftest.parity.own_time`.

Drives the lockstep case with the swarm under a sampling profiler of the standard library: a timer
of processor time interrupts the swarm's process every millisecond it works, in the kernel or
outside of it, and the innermost function of ours on the stack is noted. A sample costs
microseconds, so the shares are right and the sum is a little high.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from quantswarm.bench.selftest.cases import LOCKSTEP

EVERY_S = 0.001
SAMPLES = "own-time.json"
MODULE = "quantswarm.bench.selftest.parity.own_time"
CHILD = "quantswarm.bench.load.swarm_child"
PACKAGES = ("quantswarm", "gevent", "locust")
SHOWN = 14
START_S = 60.0


class Sampled:
    """Counts the places where the timer found the main thread."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, _: int, frame: FrameType | None) -> None:
        self.counts[place_of_frame(frame)] += 1


def place_of_frame(frame: FrameType | None) -> str:
    """`file:function` of the innermost frame that is ours, gevent's or Locust's."""
    while frame is not None:
        parts = Path(frame.f_code.co_filename).parts
        if any(package in parts for package in PACKAGES) or "bench" in parts:
            return f"{'/'.join(parts[-2:])}:{frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"


def child(plan: str, descriptor: str) -> None:
    """The swarm's own process, with the timer running."""
    sampled = Sampled()
    path = Path(plan).with_name(SAMPLES)
    atexit.register(lambda: path.write_text(json.dumps(sampled.counts), encoding="utf-8"))
    signal.signal(signal.SIGPROF, sampled)
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
    sys.argv = [CHILD, plan, descriptor]
    try:
        runpy.run_module(CHILD, run_name="__main__")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def measure(folder: Path) -> tuple[Mapping[str, int], int, float]:
    """Samples by place, tokens sent, and the process's own CPU µs a token."""
    from quantswarm.bench.cell import plan_for
    from quantswarm.bench.load.convert import convert
    from quantswarm.bench.load.plan import FACTS, SPOOL
    from quantswarm.bench.selftest.segment import (
        known_server,
        ledger_of,
        scenario_of,
        subject_of,
    )
    from quantswarm.bench.selftest.session import two_cores

    place = two_cores(folder)
    with known_server(place, first=True) as server:
        subject = subject_of(server, LOCKSTEP.behaviour, LOCKSTEP.output_tokens, place)
        plan = plan_for(
            subject,
            scenario=scenario_of(LOCKSTEP.name, LOCKSTEP.output_tokens),
            users=LOCKSTEP.users,
            out_dir=folder,
            warmup_s=LOCKSTEP.warmup_s,
            duration_s=LOCKSTEP.duration_s,
            drain_s=LOCKSTEP.drain_s,
        )
        file = folder / "own-plan.json"
        file.write_text(plan.dumps(), encoding="utf-8")
        _run_child(file, START_S + LOCKSTEP.longest_s)
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    window = facts["window"]
    converted = convert(
        folder / SPOOL,
        folder / "records.jsonl",
        lambda ns: window["start_ns"] <= ns < window["end_ns"],
    )
    counts = json.loads((folder / SAMPLES).read_text(encoding="utf-8"))
    tokens = sum(entry.tokens for entry in ledger_of(place, LOCKSTEP.behaviour))
    in_window_us = facts["harness"]["cpu_s"] * 1e6 / converted.window_tokens
    return counts, tokens, in_window_us


def _run_child(plan: Path, limit_s: float) -> None:
    with Path(os.devnull).open("wb") as nowhere:
        argv = [sys.executable, "-P", "-m", MODULE, str(plan), str(nowhere.fileno())]
        subprocess.run(argv, pass_fds=(nowhere.fileno(),), timeout=limit_s, check=True)


def main(arguments: list[str]) -> int:
    """Without arguments: the profile. With a plan and a descriptor: the swarm's process."""
    if arguments:
        child(*arguments)
        return 0
    with tempfile.TemporaryDirectory(prefix="quantswarm-own-time-") as name:
        counts, tokens, in_window_us = measure(Path(name))
    print(f"{in_window_us:.1f} µs a token in the window, profiler included; by place, whole run:")
    for place, count in Counter(counts).most_common(SHOWN):
        print(f"{count * EVERY_S * 1e6 / tokens:6.2f} µs  {place}")
    print(f"{sum(counts.values()) * EVERY_S * 1e6 / tokens:6.2f} µs  in all, {tokens:,} tokens")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
