"""The whole self-test: cases one after another, void runs again, all within three minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from quantswarm.bench.selftest.cases import FaultCase, TimedCase
from quantswarm.bench.selftest.fault_run import LONGEST_S, run_faults
from quantswarm.bench.selftest.segment import Place, place_of, run_harness, run_reference
from quantswarm.bench.selftest.verdict import CaseResult, Run, document, verdict
from quantswarm.models.errors import NotAvailable, QuantswarmError

BUDGET_S = 175.0
REPEATS = 2
"""How often a run is done again whose server was late."""
AROUND_S = 2.0
"""Starting and stopping a server and a client, and reading what they left, about."""

Case = TimedCase | FaultCase
Say = Callable[[str], None]
Runner = Callable[[TimedCase, Place], Run]
Clock = Callable[[], float]


class Session:
    """Runs cases until the time is up; what does not fit any more is reported as void."""

    def __init__(
        self,
        place: Place,
        say: Say,
        *,
        harness: Runner = run_harness,
        reference: Runner = run_reference,
        clock: Clock = time.monotonic,
    ) -> None:
        self._place = place
        self._say = say
        self._harness, self._reference = harness, reference
        self._clock = clock
        self._end_s = clock() + BUDGET_S
        self._reserved_s = 0.0
        self._runs = 0

    def run(self, cases: Sequence[Case]) -> dict[str, Any]:
        """Validity, noise floor, and one object for each case."""
        results = []
        for number, case in enumerate(cases):
            self._say(f"{case.name}: {case.summary}")
            self._reserved_s = sum(map(usual_s, cases[number + 1 :]))
            result = self._case(case)
            self._say(f"{case.name}: {said(result)}")
            results.append(result)
        return document(results)

    def _case(self, case: Case) -> CaseResult:
        place = self._place.inside(case.name)
        try:
            if isinstance(case, FaultCase):
                return run_faults(case, place)
            return self._timed(case, place)
        except QuantswarmError as error:
            return CaseResult(name=case.name, ok=False, void=False, why=(str(error),))

    def _timed(self, case: TimedCase, place: Place) -> CaseResult:
        """Reference, harness, reference: what the host did to one, it did around the other."""
        self._runs = 0
        wanted = [("harness", self._harness)]
        if case.has_reference:
            before, after = ("before", self._reference), ("after", self._reference)
            wanted = [before, *wanted, after]
        done: dict[str, Run] = {}
        later_s = self._reserved_s
        for number, (name, runner) in enumerate(wanted, start=1):
            self._reserved_s = later_s + (len(wanted) - number) * (case.usual_s + AROUND_S)
            run = self._good_run(case, place.inside(name), runner)
            if run is None:
                why = f"void: the {BUDGET_S:.0f} s of a self-test were over"
                return CaseResult(name=case.name, ok=False, void=True, why=(why,), runs=self._runs)
            done[name] = run
        harness = done.pop("harness")
        return verdict(case, harness, tuple(done.values()), runs=self._runs)

    def _good_run(self, case: TimedCase, place: Place, runner: Runner) -> Run | None:
        """The first run whose server kept its schedule, else the last one; None: no time left.

        A repeat does not take the time of runs that have not had their turn.
        """
        run = None
        for attempt in range(1 + REPEATS):
            reserved_s = self._reserved_s if attempt else 0.0
            if self._clock() + case.longest_s + AROUND_S + reserved_s > self._end_s:
                break
            self._runs += 1
            run = runner(case, place.inside(str(attempt + 1)))
            void = _void(case, run)
            if void is None:
                break
            self._say(f"{case.name}: {void}, so this run is void")
        return run


def _void(case: TimedCase, run: Run) -> str | None:
    """Why a run proves nothing, either way; None when it does."""
    if case.server_must_keep_up and run.server_was_late:
        return "the server was late by itself"
    if case.bounds and run.host_was_busy:
        return "the host kept the harness from its core"
    return None


def usual_s(case: Case) -> float:
    """About how long a case takes when nothing is void."""
    if isinstance(case, FaultCase):
        return case.duration_s + LONGEST_S + AROUND_S
    return case.runs * (case.usual_s + AROUND_S)


def said(result: CaseResult) -> str:
    """A case in a line."""
    state = "ok" if result.ok else "VOID" if result.void else "FAILED"
    return "; ".join([state, *result.why])


def session_in(folder: Path, say: Say) -> Session:
    """A session on this machine; `NotAvailable` where server and client would share a core."""
    return Session(two_cores(folder), say)


def two_cores(folder: Path) -> Place:
    """The plan's core of either side; `NotAvailable` where that is one and the same."""
    from quantswarm.engines import hardware, placement

    place = place_of(placement.plan(hardware.host().core_groups), folder)
    if set(place.server_cores) & set(place.client_cores):
        raise NotAvailable(
            "self-test",
            "it needs two cores: server and client must not disturb each other",
            next_step="run it on a machine with two",
        )
    return place
