"""The comparison around the tools: truth, joins, processor time, environments, tables."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.cli import main
from quantswarm.bench.selftest.compare_ledger import Entry
from quantswarm.bench.selftest.parity import comparison, environment
from quantswarm.bench.selftest.parity.comparison import Ready, compare, in_turn, ours_held
from quantswarm.bench.selftest.parity.load_cases import CASES, FAULT_KINDS
from quantswarm.bench.selftest.parity.own_time import place_of_frame
from quantswarm.bench.selftest.parity.peer import Reported, Seen, Start
from quantswarm.bench.selftest.parity.row import Row, fault_verdicts, joined, row_of
from quantswarm.bench.selftest.parity.tables import as_markdown, tables
from quantswarm.bench.selftest.parity.truth import (
    FORMULAS,
    itl_ms,
    most_in_flight,
    quantiles,
    tpot_ms,
    true_tokens_per_s,
)
from quantswarm.bench.selftest.parity.watched import Ran, Status, parsed, session_ticks, watch
from quantswarm.bench.selftest.peers import OURS, peer_named
from quantswarm.bench.selftest.segment import Place
from quantswarm.engines.scripted.behaviour import parse
from quantswarm.models.errors import BuildFailed, NotAvailable, RunFailed

MS = 1_000_000


def entry(name: str, *sent_ms: int, tokens: int = 1, at_ms: int = 0, **more: Any) -> Entry:
    fields: dict[str, Any] = {"outcome": "ok", "fault": None, **more}
    stamps = tuple(stamp * MS for stamp in sent_ms)
    return Entry(
        id=name,
        model="m",
        received_ns=at_ms * MS,
        prompt_tokens=1,
        tokens=tokens * len(sent_ms),
        event_tokens=(tokens,) * len(sent_ms),
        scheduled_ns=stamps,
        sent_ns=stamps,
        **fields,
    )


def test_definitions_differ_as_the_tools_do() -> None:
    one = entry("a", 50, 90, 130, tokens=4)
    assert FORMULAS["ttft"](one) == [50]
    assert FORMULAS["tpot"](one) == [80 / 11]
    assert FORMULAS["tpot-with-ttft"](one) == [130 / 12]
    assert FORMULAS["itl"](one) == [10] * 8
    assert FORMULAS["chunk-gaps"](one) == [40, 40]
    assert FORMULAS["request-means"](one) == [80 / 11] * 11


def test_nothing_has_no_quantiles_and_no_interval() -> None:
    assert quantiles([]).p50 is None
    assert tpot_ms([1], 5) == tpot_ms([1, 2], 1) == itl_ms([7]) == []
    assert all(of(entry("a")) == [] for of in FORMULAS.values())


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=20), st.integers(1, 8))
def test_gaps_of_tokens_sum_to_the_whole(gaps: list[int], tokens: int) -> None:
    stamps = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    parts = itl_ms(stamps, [tokens] * len(stamps))
    assert len(parts) == tokens * (len(gaps) - 1)
    assert sum(parts) == pytest.approx((stamps[-1] - stamps[0]) / 1e6)


def test_what_was_in_flight_and_how_fast() -> None:
    entries = [entry("a", 10, 20), entry("b", 15, 30, at_ms=5), entry("c", 40, at_ms=30)]
    assert most_in_flight(entries) == 2
    assert true_tokens_per_s(entries, (10 * MS, 20 * MS)) == pytest.approx(300)


def test_a_fault_is_told_by_what_the_tool_made_of_it() -> None:
    entries = [
        entry("a", 1),
        entry("b", fault="500", outcome="failed", at_ms=2),
        entry("c", 3, fault="truncated", outcome="failed", at_ms=3),
        entry("d", fault="429", outcome="failed", at_ms=4),
        entry("d", 5, at_ms=5),
        entry("e", fault="html", outcome="failed", at_ms=6),
    ]
    seen = [Seen(id=name, ok=name != "b") for name in "abcd"]
    assert fault_verdicts(seen, entries) == {
        "500": "failure",
        "truncated": "SUCCESS",
        "429": "asked again, SUCCESS",
        "html": "not told",
    }


def test_requests_without_an_id_go_by_their_order_and_only_if_none_is_missing() -> None:
    entries = [entry("a", 1, at_ms=0), entry("b", 9, at_ms=8), entry("c", 5, at_ms=4)]
    nameless = [Seen(ok=False, started_s=9.0), Seen(ok=True, started_s=5.0)]
    assert joined([Seen(ok=True, id="a"), *nameless], entries) == {0: True, 2: True, 1: False}
    assert joined([Seen(ok=True, id="a"), nameless[0]], entries) == {0: True}


def test_every_case_can_be_asked_for_and_means_what_it_says() -> None:
    for case in CASES:
        behaviour = parse(case.behaviour)
        assert case.requests >= case.users
        if case.has_faults:
            assert tuple(fault.kind for fault in behaviour.faults) == FAULT_KINDS
            struck = [fault.indices for fault in behaviour.faults]
            assert max(pair[0] for pair in struck if pair) < case.requests


def test_a_line_of_proc_with_brackets_in_the_name() -> None:
    line = "42 (a) (b c) S 7 42 9 " + " ".join(["0"] * 7) + " 1 2 3 4 20 0"
    assert parsed(line) == Status(pid=42, parent=7, session=9, ticks=10)


def test_a_session_and_all_that_descends_from_it_counts_once() -> None:
    found = [
        Status(pid=1, parent=0, session=1, ticks=99),
        Status(pid=10, parent=1, session=10, ticks=1),
        Status(pid=11, parent=10, session=10, ticks=2),
        Status(pid=12, parent=11, session=12, ticks=4),
        Status(pid=13, parent=1, session=10, ticks=8),
    ]
    assert session_ticks(10, found) == 15


def test_processor_time_between_two_instants() -> None:
    ran = Ran(samples=((0, 0.0), (100, 1.0), (200, 3.0)), cpu_s=4.0, wall_s=1.0, exit_code=0)
    assert ran.cpu_between_s(50, 150) == pytest.approx(1.5)
    assert ran.cpu_between_s(50, 250) is None
    assert dataclasses.replace(ran, samples=()).cpu_between_s(50, 60) is None


def test_a_tool_is_watched_with_its_children_and_ends_with_them(tmp_path: Path) -> None:
    work = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {work!r}])"
    ran = watch(
        Start(argv=(sys.executable, "-c", code)), cores=(), log=tmp_path / "log", limit_s=60
    )
    assert ran.exit_code == 0
    assert ran.cpu_s > 0.3
    assert ran.samples[-1][1] > 0.25  # the last sample is taken after its end


def test_a_tool_that_hangs_is_ended_and_its_last_words_kept(tmp_path: Path) -> None:
    code = "import os, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(300)"
    with pytest.raises(RunFailed, match="not done after 1 s") as told:
        watch(Start(argv=(sys.executable, "-c", code)), cores=(), log=tmp_path / "log", limit_s=1)
    pid = int(str(told.value).rpartition("pid ")[2].split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


class FakePip:
    """Makes an interpreter and counts how often it was asked; may break off."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.breaks = False

    def __call__(self, argv: Any, *, log: Path, env: Any = None, on_line: Any = None) -> None:
        self.asked.append([str(part) for part in argv])
        if "venv" in self.asked[-1]:
            python = Path(self.asked[-1][-1]) / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        elif self.breaks:
            raise BuildFailed("pip", "no way to its index", evidence="no route")


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePip:
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path))
    return FakePip()


def test_an_environment_is_made_once_and_a_half_made_one_again(pip: FakePip) -> None:
    peer = peer_named("guidellm")
    pip.breaks = True
    with pytest.raises(NotAvailable, match="no route"):
        environment.python_for(peer, print, run=pip)
    pip.breaks = False
    python = environment.python_for(peer, print, run=pip)
    assert python.is_file()
    assert python.parent.parent.name == "guidellm-0.8.1"
    assert len(pip.asked) == 4
    assert "guidellm==0.8.1" in pip.asked[-1]
    assert environment.python_for(peer, print, run=pip) == python
    assert len(pip.asked) == 4


def test_what_is_installed_already_needs_no_environment(pip: FakePip) -> None:
    assert environment.python_for(peer_named("openai-sdk"), print, run=pip) == Path(sys.executable)
    assert pip.asked == []


def ready(name: str) -> Ready:
    return Ready(peer=peer_named(name), python=Path(sys.executable))


def test_ours_goes_before_and_after_the_others() -> None:
    tools = [ready("guidellm"), ready(OURS), ready("aiperf")]
    order = [tool.peer.name for tool in in_turn(tools)]
    assert order == [OURS, "guidellm", "aiperf", OURS]
    assert len(in_turn([ready(OURS)])) == 1


@pytest.mark.parametrize(
    ("rows", "held"),
    [
        ([{}, {"broken": ("x",)}], True),
        ([{"broken": ("x",)}, {"broken": ("x",)}], False),
        ([{"broken": ("x",)}, {"server_lateness_p99_ms": 3.0}], False),
        ([{"broken": ("x",), "server_lateness_p99_ms": 3.0}], True),
        ([{}, {"not_run": "no"}], False),
        ([], True),
    ],
)
def test_ours_holds_if_one_fair_run_does(rows: list[dict[str, Any]], held: bool) -> None:
    fields: dict[str, Any] = {"peer": OURS, "version": "1", "turn": 1, "broken": ()}
    made = [Row(**{**fields, "server_lateness_p99_ms": 0.1, **row}) for row in rows]
    assert ours_held(made) is held


def test_a_row_has_both_truths_and_the_cost() -> None:
    entries = [entry("a", 50, 90, 130, tokens=4)]
    said = quantiles([11.0])
    reported = Reported(
        latencies={"ttft": said, "tpot": said, "itl": said},
        output_tokens=12,
        output_tokens_per_s=90.0,
        succeeded=1,
        failed=0,
        requests=(Seen(ok=True, id="a"),),
    )
    ran = Ran(samples=((-MS, 0.0), (200 * MS, 0.0201)), cpu_s=0.12, wall_s=2.0, exit_code=0)
    row = row_of(peer_named("guidellm"), 2, reported, entries, ran)
    assert row.metrics["tpot"].true.p50 == 80 / 11
    assert row.metrics["tpot"].true_by_its_own.p50 == 130 / 12
    assert row.cpu_us_per_token_in_all == pytest.approx(10_000)
    assert row.cpu_us_per_token == pytest.approx(130 * 100 / 12)
    assert (row.true_requests, row.true_failures, row.most_in_flight) == (1, 0, 1)


def test_two_tools_from_end_to_end(tmp_path: Path) -> None:
    """Ours and the script on the openai package, which need no installation."""
    faults = next(case for case in CASES if case.has_faults)
    place = Place(folder=tmp_path, server_cores=(), client_cores=())
    missing = dataclasses.replace(faults, name="missing", behaviour="ttft=1ms,itl=1ms", kinds=())
    chosen = [peer_named(OURS), peer_named("openai-sdk")]
    found = compare(chosen, [faults, missing], place, lambda _: None)
    rows = found["cases"][0]["rows"]
    assert [row["not_run"] for row in rows] == [None] * 3
    assert set(rows[0]["faults"].values()) == {"failure"}
    assert set(rows[0]["faults"]) == set(FAULT_KINDS)
    assert rows[1]["faults"]["500"] == "asked again, SUCCESS"
    assert rows[1]["succeeded"] + rows[1]["failed"] == faults.requests
    told = as_markdown(found)
    assert "| tool | 429 | 500 |" in told
    assert "openai-sdk" in told
    assert [table.header[0] for table in tables(found)] == ["tool", "tool"]
    assert "× ours" in told


def test_what_cannot_run_is_said_and_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Path:
        raise NotAvailable("guidellm", "no index")

    monkeypatch.setattr(comparison, "python_for", broken)
    place = Place(folder=tmp_path, server_cores=(), client_cores=())
    found = compare([peer_named("guidellm")], CASES[:1], place, lambda _: None)
    assert found["valid"]
    assert "guidellm 0.8.1: not run: guidellm: no index" in as_markdown(found)


@pytest.mark.parametrize(
    "options", [["--peer", "aiperf"], ["--markdown"], ["--peers", "--peer", "x"]]
)
def test_options_that_do_not_go_together(options: list[str]) -> None:
    assert main(["selftest", *options]) == 2


def test_a_place_on_the_stack_is_the_innermost_of_ours() -> None:
    assert place_of_frame(None) == "elsewhere"
    found = place_of_frame(sys._getframe())
    assert found.endswith("test_a_place_on_the_stack_is_the_innermost_of_ours")
