"""Bounds, void runs, flagged runs: from made runs, without any server."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.selftest.cases import (
    CASES,
    CROWD,
    FLAGGED,
    ITL_P99,
    LOCKSTEP,
    SATURATED,
    FaultCase,
    TimedCase,
    case_named,
)
from quantswarm.bench.selftest.compare_ledger import Errors
from quantswarm.bench.selftest.segment import Place
from quantswarm.bench.selftest.session import BUDGET_S, Session, usual_s
from quantswarm.bench.selftest.verdict import Run, check, document, verdict
from quantswarm.engines.scripted.behaviour import parse
from quantswarm.models.errors import RunFailed, UnknownName

CASE = dataclasses.replace(LOCKSTEP, bounds={ITL_P99: 5.0})
KEYS = {
    *("name", "ttft_p50_error_ms", "ttft_p99_error_ms", "itl_p50_error_ms", "itl_p99_error_ms"),
    *("throughput_error", "cpu_us_per_token", "reference_itl_p99_error_ms", "ok"),
}


def made(itl_ms: float = 0.1, *, late_ms: float = 0.01, **more: Any) -> Run:
    errors = Errors(
        ttft_ms=(0.1,), itl_ms=(itl_ms,), tpot=(0.0,), throughputs=((9.0, 10.0),),
        lateness_ms=(late_ms,),
    )  # fmt: skip
    fields: dict[str, Any] = {"miscounts": (), "cpu_share": 0.1, "cpu_us_per_token": 30.0}
    return Run(errors=errors, **{**fields, **more})


@given(st.floats(0, 1e3), st.floats(0, 1e3), st.floats(0.001, 1e3))
def test_a_bound_is_one_on_what_the_harness_adds(seen: float, bare: float, bound: float) -> None:
    assert check("x", bound, seen, bare).holds == (seen - bare < bound)
    assert check("x", bound, seen, None).holds == (seen < bound)
    assert not check("x", bound, None, bare).holds


def test_under_the_bound_is_ok_and_over_it_is_not() -> None:
    assert verdict(CASE, made(4.0), (made(), made())).ok
    found = verdict(CASE, made(9.0), (made(), made()))
    assert (found.ok, found.void) == (False, False)
    assert "itl_p99_error_ms 9 − 0.1 of the reference is not under 5" in found.why[0]


def test_a_noisy_host_troubles_both_clients_alike() -> None:
    assert verdict(CASE, made(12.0), (made(8.0), made(9.0))).ok


def test_the_noise_floor_is_how_much_two_equal_runs_differ() -> None:
    found = verdict(CASE, made(), (made(0.5), made(2.0)))
    assert found.noise_ms == 1.5
    assert document([found, verdict(CASE, made(), ())])["noise_floor_ms"] == 1.5
    assert document([])["noise_floor_ms"] is None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_late_server_voids_the_case_wherever_it_was(place: int) -> None:
    runs = [made(late_ms=1.5 if at == place else 0.1) for at in range(3)]
    found = verdict(CASE, runs[0], runs[1:])
    assert (found.ok, found.void) == (False, True)
    assert found.why[0].startswith("void")
    assert found.server_lateness_p99_ms == 1.5


def test_a_host_that_kept_the_harness_waiting_voids_the_case() -> None:
    references = (made(), made())
    found = verdict(CASE, made(9.0, host_lag_p99_ms=12.0), references)
    assert (found.ok, found.void) == (False, True)
    assert "12.0 ms late" in found.why[0]
    assert verdict(CASE, made(host_lag_p99_ms=0.9), references).ok


def test_a_server_that_sent_nothing_shows_nothing() -> None:
    silent = dataclasses.replace(made(), errors=Errors())
    assert verdict(CASE, silent, ()).void


def test_a_run_that_calls_itself_invalid() -> None:
    flagged = made(90.0, flagged="saturated")
    assert not verdict(CASE, flagged, ()).ok
    assert verdict(CROWD, flagged, (made(),)).ok
    assert verdict(SATURATED, flagged, ()).ok
    assert not verdict(SATURATED, made(), ()).ok


def test_a_miscount_by_either_client_is_never_ok() -> None:
    wrong = made(miscounts=("one", "two", "three", "four"))
    found = verdict(CASE, made(), (wrong,))
    assert not found.ok
    assert found.why[-1] == "and 1 more miscounts"
    assert not verdict(SATURATED, made(flagged="x", miscounts=("one",)), ()).ok


def test_the_document_has_the_promised_keys_and_is_json() -> None:
    found = document([verdict(CASE, made(), (made(),))])
    assert set(found) == {"valid", "noise_floor_ms", "cases"}
    assert set(found["cases"][0]) >= KEYS
    assert found["cases"][0]["throughput_error"] == pytest.approx(0.1)
    json.dumps(found, allow_nan=False)


def test_valid_needs_every_case() -> None:
    good, bad = verdict(CASE, made(), ()), verdict(CASE, made(9.0), ())
    assert document([good, good])["valid"]
    assert not document([good, bad])["valid"]
    assert not document([])["valid"]


def test_the_declared_cases_make_sense() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(map(usual_s, CASES)) < BUDGET_S
    for case in CASES:
        parse(case.behaviour)
        assert case_named(case.name) is case
    assert [c.name for c in CASES if isinstance(c, TimedCase) and c.wants == FLAGGED]
    assert [c.name for c in CASES if isinstance(c, FaultCase) and c.server_dies]
    with pytest.raises(UnknownName, match="one-stream"):
        case_named("one-steam")


class Rig:
    """A session whose runs are made, and take as long as they say."""

    def __init__(self, *runs: Run, lasting_s: float = 10.0) -> None:
        self.runs, self.lasting_s, self.now_s = list(runs), lasting_s, 0.0
        self.told: list[str] = []
        place = Place(folder=Path(), server_cores=(), client_cores=())
        self.session = Session(
            place,
            self.told.append,
            harness=self.take,
            reference=self.take,
            clock=lambda: self.now_s,
        )

    def take(self, case: TimedCase, place: Place) -> Run:
        self.now_s += self.lasting_s
        return self.runs.pop(0) if len(self.runs) > 1 else self.runs[0]


def test_a_void_run_is_done_again_and_then_counts() -> None:
    rig = Rig(made(), made(late_ms=9), made(late_ms=9), made())
    (case,) = rig.session.run([CASE])["cases"]
    assert (case["ok"], case["runs"]) == (True, 5)
    assert sum("void" in line for line in rig.told) == 2


def test_what_stays_void_is_reported_as_void() -> None:
    (case,) = Rig(made(late_ms=9)).session.run([CASE])["cases"]
    assert (case["ok"], case["void"], case["runs"]) == (False, True, 9)


def test_time_is_never_exceeded_and_the_rest_is_void() -> None:
    rig = Rig(made(), lasting_s=CASE.longest_s)
    found = rig.session.run([dataclasses.replace(CASE, name=str(at)) for at in range(20)])
    assert rig.now_s <= BUDGET_S
    assert not found["valid"]
    assert found["cases"][0]["ok"]
    assert found["cases"][-1]["void"]
    assert "were over" in found["cases"][-1]["why"][0]


def test_repeats_leave_time_for_the_cases_to_come() -> None:
    rig = Rig(made(late_ms=9), lasting_s=CASE.usual_s)
    cases = [dataclasses.replace(CASE, name=str(at)) for at in range(4)]
    assert all(case["runs"] >= 3 for case in rig.session.run(cases)["cases"])
    assert rig.now_s <= BUDGET_S


def test_a_client_that_fails_fails_its_case_alone() -> None:
    def broken(case: TimedCase, place: Place) -> Run:
        raise RunFailed("the swarm", "broke")

    place = Place(folder=Path(), server_cores=(), client_cores=())
    session = Session(place, lambda _: None, harness=broken, reference=lambda *_: made())
    found = session.run([CASE, CASE])
    assert [case["why"] for case in found["cases"]] == [["the swarm: broke"]] * 2
