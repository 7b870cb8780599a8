"""Where our client's processor time goes: `python -m quantswarm.bench.selftest.parity.own_time`.

Drives the lockstep case with the swarm under a sampling profiler of the standard library: a timer
of processor time interrupts the swarm's process as often as the kernel's tick allows (every 4 ms,
usually) while it works, in the kernel or outside of it, and the innermost function of ours, of
gevent's or of Locust's is noted. The shares of these samples divide the processor time that the
swarm itself measured in its window. What happens in C (reading a socket, switching greenlets)
counts for the function that called it, or the next one to run.
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
import time
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
SHOWN = 24
LASTS_S = 15.0
START_S = 60.0


class Sampled:
    """Notes when and where the timer found the main thread."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, str]] = []

    def __call__(self, _: int, frame: FrameType | None) -> None:
        self.seen.append((time.perf_counter_ns(), place_of_frame(frame)))


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
    atexit.register(lambda: path.write_text(json.dumps(sampled.seen), encoding="utf-8"))
    signal.signal(signal.SIGPROF, sampled)
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
    sys.argv = [CHILD, plan, descriptor]
    try:
        runpy.run_module(CHILD, run_name="__main__")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def measure(folder: Path) -> tuple[Mapping[str, int], float]:
    """Samples of the window by place, and the processor µs a token in it."""
    from quantswarm.bench.cell import plan_for
    from quantswarm.bench.load.convert import convert
    from quantswarm.bench.load.plan import FACTS, SPOOL
    from quantswarm.bench.selftest.segment import (
        known_server,
        scenario_of,
        subject_of,
    )
    from quantswarm.bench.selftest.session import two_cores

    place = two_cores(folder)
    with known_server(place, first=True) as server:
        subject = subject_of(server, LOCKSTEP.behaviour, place)
        plan = plan_for(
            subject,
            scenario=scenario_of(LOCKSTEP.name, LOCKSTEP.output_tokens),
            users=LOCKSTEP.users,
            out_dir=folder,
            warmup_s=LOCKSTEP.warmup_s,
            duration_s=LASTS_S,
            drain_s=LOCKSTEP.drain_s,
        )
        file = folder / "own-plan.json"
        file.write_text(plan.dumps(), encoding="utf-8")
        _run_child(file, START_S + LASTS_S)
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    window = facts["window"]
    converted = convert(
        folder / SPOOL,
        folder / "records.jsonl",
        lambda ns: window["start_ns"] <= ns < window["end_ns"],
    )
    seen = json.loads((folder / SAMPLES).read_text(encoding="utf-8"))
    inside = Counter(at for ns, at in seen if window["start_ns"] <= ns < window["end_ns"])
    return inside, facts["harness"]["cpu_s"] * 1e6 / converted.window_tokens


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
        counts, us_a_token = measure(Path(name))
    samples = sum(counts.values())
    print(f"{us_a_token:.1f} µs a token, of which ({samples:,} samples)")
    for place, count in Counter(counts).most_common(SHOWN):
        print(f"{us_a_token * count / samples:6.2f} µs  {count / samples:6.1%}  {place}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
