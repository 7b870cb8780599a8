"""Goodput: what fails, is late, short or undefined is a miss, and misses stay in the share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_run import MS, START, Load, S, failed, record, write_cell, write_run

from quantswarm.bench.judge.cell import judge
from quantswarm.bench.judge.goodput import attainment, goodput, met, slo_attainment
from quantswarm.bench.judge.rate import RATES
from quantswarm.bench.judge.records import Record, _record
from quantswarm.bench.judge.summary import summarise
from quantswarm.bench.judge.window import Cut, Window, cut
from quantswarm.bench.load.record import FAILURES
from quantswarm.bench.report.columns import columns_for
from quantswarm.bench.report.markdown import as_markdown
from quantswarm.bench.report.page import as_page
from quantswarm.bench.report.terminal import table
from quantswarm.bench.slo import Slo

WINDOW = Window(swarm_start_ns=START, start_ns=START, end_ns=START + 10 * S, drained_ns=None)
SLO = Slo(ttft_ms=60, tpot_ms=15, e2e_ms=100)


def read(made: dict[str, Any]) -> Record:
    return _record(json.dumps(made).encode())


def cut_of(made: list[dict[str, Any]], slo: Slo | None, *, open_loop: bool = True) -> Cut:
    return cut(map(read, made), WINDOW, users=8, open_loop=open_loop, slo=slo)


def at(number: int, **changed: Any) -> dict[str, Any]:
    """50 ms to the first of 4 tokens, 10 ms between them: within SLO."""
    return record(number, START + number * 100 * MS, **changed)


def answer(first_ms: int, gap_ms: int, tokens: int = 4) -> dict[str, Any]:
    """A whole answer of that course."""
    stamps = [START + (first_ms + gap_ms * n) * MS for n in range(tokens)]
    return record(
        0,
        START,
        event_ns=stamps,
        event_tokens=[1] * tokens,
        output_tokens=tokens,
        end_ns=stamps[-1] + MS,
    )


@pytest.mark.parametrize(
    ("first_ms", "gap_ms", "expected"),
    [
        (50, 10, True),
        (60, 10, True),
        (61, 10, False),
        (10, 15, True),
        (10, 16, False),
        (58, 15, False),
    ],
)
def test_each_limit_is_kept_up_to_itself(first_ms: int, gap_ms: int, expected: bool) -> None:
    assert met(read(answer(first_ms, gap_ms)), SLO) is expected


def test_waiting_in_the_client_counts() -> None:
    """The server was quick once it was asked; the user was not served quickly."""
    held_back = {**answer(70, 10), "sent_ns": START + 60 * MS}
    assert not met(read(held_back), SLO)


def test_an_undefined_tpot_is_a_miss_only_where_tpot_is_limited() -> None:
    one_token = read(answer(50, 0, tokens=1))
    assert not met(one_token, SLO)
    assert met(one_token, Slo(ttft_ms=60))


@pytest.mark.parametrize("outcome", sorted(FAILURES))
def test_a_failure_of_any_class_is_a_miss(outcome: str) -> None:
    assert not met(read({**at(0), "outcome": outcome, "error": "made up"}), Slo())


def test_misses_stay_in_the_share() -> None:
    made = [at(n) for n in range(6)]
    made += [failed(6, START + S), failed(7, START + S, "dropped"), {**at(8), "outcome": "short"}]
    made.append({**answer(90, 10), "id": "r9"})
    part = cut_of(made, SLO)
    assert goodput(part) == pytest.approx(0.6)
    assert slo_attainment(part) == pytest.approx(0.6)
    by_limit = {rate.name: rate.of(part) for rate in RATES if rate.name.startswith("slo_")}
    assert by_limit["slo_attainment_ttft"] == pytest.approx(0.6)
    assert by_limit["slo_attainment_tpot"] == pytest.approx(0.7)
    found = attainment(part)
    assert found is not None
    assert (found.met, found.begun) == (6, 10)
    assert found.low < 0.6 < found.high


def test_none_met_is_nought_and_nothing_promised_is_not_known() -> None:
    slow = cut_of([answer(90, 10)], SLO)
    assert goodput(slow) == slo_attainment(slow) == 0
    for part in (cut_of([at(0)], None), cut_of([], SLO)):
        assert goodput(part) is slo_attainment(part) is None
        assert attainment(part) is None


@pytest.mark.parametrize(
    ("open_loop", "words"),
    [(True, "offered by the schedule"), (False, "asked by 8 users in a closed loop")],
)
def test_the_share_says_of_what(open_loop: bool, words: str) -> None:
    found = attainment(cut_of([at(0)], SLO, open_loop=open_loop))
    assert found is not None
    assert found.of == words


def run_with(folder: Path, **manifest: Any) -> dict[str, Any]:
    write_cell(write_run(folder), "vllm", "bf16", Load(), **manifest)
    return summarise(folder)


def test_a_judge_reads_them_from_the_manifest(tmp_path: Path) -> None:
    slo = Slo(ttft_ms=60, tpot_ms=9)
    summary = run_with(tmp_path / "run", slo=slo.as_json())
    (cell,) = summary["cells"]
    assert cell["slo_attainment"] == cell["goodput"] == 0
    assert cell["rates"]["slo_attainment_ttft"] == 1
    assert cell["slo"]["slo"] == slo.as_json()
    assert {"goodput", "slo_attainment"} <= {column.key for column in columns_for([cell])}
    for text in (as_markdown(summary), as_page(summary)):
        assert "asked by 1 user in a closed loop" in text
        assert "TTFT 100%; TPOT 0%" in text
    assert "goodput" in table(summary)


def test_a_run_without_objectives_is_as_before(tmp_path: Path) -> None:
    summary = run_with(tmp_path / "run")
    (cell,) = summary["cells"]
    assert cell["slo"] is cell["goodput"] is cell["slo_attainment"] is None
    assert "goodput" not in table(summary)


@pytest.mark.parametrize("slo", [[], {"ttft": 3}, {"share": 7}])
def test_objectives_that_are_none_make_the_cell_invalid(tmp_path: Path, slo: Any) -> None:
    (cell,) = run_with(tmp_path / "run", slo=slo)["cells"]
    assert cell["status"] == "invalid"
    assert "slo" in cell["reason"]


def test_judging_a_cell_gives_its_attainment(tmp_path: Path) -> None:
    folder = write_cell(write_run(tmp_path / "run"), "vllm", "bf16", Load(), slo={"e2e_ms": 1000.0})
    found = judge(folder).slo
    assert found is not None
    assert found.met == found.begun > 0
