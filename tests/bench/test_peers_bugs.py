"""Bugs that other load generators have published or show, held against our own client.

Each test is named after the bug and says who had it. The server is the scripted one, in a process
of its own; what it wrote into its ledger is the truth. Nothing here depends on how busy the host
is: the bugs show in order, in counts, or in times that the server's schedule guarantees.
"""

from __future__ import annotations

import json
import socket
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.judge.latency import itl, tpot, ttft
from quantswarm.bench.judge.rate import failure_share
from quantswarm.bench.judge.records import Record, read_records
from quantswarm.bench.judge.window import Window, cut
from quantswarm.bench.load.arrivals import Arrivals
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.progress import Progress
from quantswarm.bench.load.prompts import PromptMaker
from quantswarm.bench.load.scenario import Scenario
from quantswarm.bench.load.swarm import SwarmResult, drive
from quantswarm.bench.selftest.compare_ledger import Entry, read_ledger
from quantswarm.bench.selftest.parity.truth import mean_in_flight, most_in_flight
from quantswarm.bench.selftest.segment import LEDGER, Place, known_server

TOKENS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """A run from both sides: records, their ledger entries by id, and the swarm's own result."""

    records: tuple[Record, ...]
    ledger: dict[str, Entry]
    result: SwarmResult

    def pairs(self) -> list[tuple[Record, Entry]]:
        assert self.records
        return [(record, self.ledger[record.id]) for record in self.records]

    @property
    def window(self) -> Window:
        found = self.result.window
        assert found.start_ns is not None
        assert found.end_ns is not None
        return Window(
            swarm_start_ns=None, start_ns=found.start_ns, end_ns=found.end_ns, drained_ns=None
        )


def run(folder: Path, behaviour: str, *, api: str = "completions", **more: Any) -> Both:
    """The swarm against a fresh server; `more` goes into the plan."""
    watch = more.pop("watch", None)
    tokens = more.pop("tokens", TOKENS)
    fields: dict[str, Any] = {"users": 2, "warmup_s": 0.0, "duration_s": 0.6, "drain_s": 30.0}
    scenario = Scenario(name="bugs", api=api, prompt_tokens=32, output_tokens=tokens)
    place = Place(folder=folder, server_cores=(), client_cores=())
    model = f"scripted:{behaviour}"  # not the server's own: that must pass its readiness probe
    with known_server(place) as server:
        plan = SwarmPlan(
            base_url=server.base_url,
            served_name=model,
            scenario=scenario,
            out_dir=folder / "swarm",
            pinned_by="scripted",
            **{**fields, **more},
        )
        result = drive(plan, watch)
    entries = [entry for entry in read_ledger(folder / LEDGER) if entry.model == model]
    records = read_records(result.records).records
    return Both(records=records, ledger={entry.id: entry for entry in entries}, result=result)


def test_role_chunk_as_first_token(tmp_path: Path) -> None:
    """A role-only chunk taken for the first token: older vLLM and genai-bench, chat."""
    both = run(tmp_path, "ttft=150ms,itl=2ms,role=early", api="chat")
    for record, entry in both.pairs():
        assert record.ok
        assert record.event_ns[0] >= entry.sent_ns[0]
        assert ttft(record)[0] >= 150
        assert record.counted_tokens == entry.tokens == TOKENS


def test_several_tokens_an_event(tmp_path: Path) -> None:
    """An event of n tokens taken for one: ITL n times too long (vLLM's itl, AIPerf's chunks)."""
    both = run(tmp_path, "ttft=20ms,itl=10ms,per_event=4")
    for record, entry in both.pairs():
        assert record.event_tokens == entry.event_tokens == (4, 4, 4)
        assert len(itl(record)) == TOKENS - 4
        assert sum(itl(record)) == pytest.approx((record.event_ns[-1] - record.event_ns[0]) / 1e6)


def test_several_tokens_an_event_without_running_usage_are_said_and_not_guessed(
    tmp_path: Path,
) -> None:
    """Events passed off as tokens without a word. We cannot know better either, and say so: the
    judge warns of `token-count-mismatch`, and TPOT goes by the server's count."""
    both = run(tmp_path, "ttft=20ms,itl=10ms,per_event=4,usage=final")
    for record, entry in both.pairs():
        assert record.output_tokens == entry.tokens == TOKENS
        assert record.counted_tokens == len(entry.event_tokens) == 3
        assert tpot(record) == ((record.event_ns[-1] - record.event_ns[0]) / 1e6 / (TOKENS - 1),)


def test_usage_overwriting_ttft(tmp_path: Path) -> None:
    """The usage chunk after the last token taken for the first or for one more: genai-perf."""
    both = run(tmp_path, "ttft=20ms,itl=40ms,usage=final,finish=apart")
    for record, entry in both.pairs():
        assert len(record.event_ns) == len(entry.sent_ns) == TOKENS
        assert record.event_ns[0] < entry.sent_ns[-1]
        assert record.event_ns[-1] - record.event_ns[0] > 0


CLASSES = {
    "error-event": "error_event",  # a success with fewer tokens: vLLM's bench serve, AIPerf
    "malformed": "malformed",  # a success: AIPerf
    "truncated": "short",  # an answer too short is whole: all of them
    "close": "truncated",  # clients that read lines: the end is the end
    "reset": "reset",
    "html": "not_sse",  # an empty answer of status 200: the openai package
    "429": "http_429",  # asked again, and not a word of it: the openai package
    "500": "http_500",
}


def test_failure_counted_as_success(tmp_path: Path) -> None:
    """An error event, a cut answer or a page of HTML with status 200 counted as good."""
    faults = [f"fault={kind}@index:{n}@token:3" for n, kind in enumerate(CLASSES)]
    behaviour = ",".join(["ttft=10ms,itl=2ms", *faults])
    both = run(tmp_path, behaviour, users=1, duration_s=2.0)
    met = {entry.fault: record.outcome for record, entry in both.pairs() if entry.fault}
    assert met == CLASSES
    assert len(both.ledger) == len(both.records)  # nothing was asked again
    whole = sum(record.ok for record in both.records)
    share = failure_share(cut(both.records, both.window, users=1))
    assert share == len(CLASSES) / (len(CLASSES) + whole)


def test_prefix_cache_contamination() -> None:
    """The same prompts in every run: the second read 2.3 times faster (vLLM's random data)."""
    makers = [
        PromptMaker(tokens=32, seed=seed, cell=cell, tokenizer=None)
        for seed in (0, 1)
        for cell in ("a/1", "a/2", "b/1")
    ]
    prompts = [maker.make(number) for maker in makers for number in range(50)]
    first_words = {str(prompt.text).split()[0] for prompt in prompts}
    assert len(first_words) == len(prompts) == len({prompt.uid for prompt in prompts})


def test_diluted_failure_ratio(tmp_path: Path) -> None:
    """Metrics pushed into Locust as requests: 2.4 % failures shown, 33 % true (fw-ai, genai)."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pages: list[dict[str, Any]] = []

    def look(progress: Progress) -> None:
        if progress.phase == "window" and progress.finished >= 9:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests") as reply:
                pages.append(json.load(reply))

    behaviour = "ttft=5ms,itl=1ms,fault=500@every:3"
    both = run(tmp_path, behaviour, ui_port=port, watch=look, duration_s=2.2, users=3)
    outcomes = Counter(record.outcome for record in both.records)
    assert abs(outcomes["http_500"] - len(both.records) / 3) < 1
    *entries, total = pages[-1]["stats"]
    assert len(entries) == 1
    assert total["num_requests"] <= len(both.records)
    # Answers still under way when the page was read may be of either kind.
    assert abs(total["num_failures"] - total["num_requests"] / 3) <= 3 + 1


def test_concurrency_not_held(tmp_path: Path) -> None:
    """Fewer in flight than asked for: users who wait for each other, or for a new connection."""
    both = run(tmp_path, "ttft=100ms,itl=50ms", users=8, duration_s=2.5)
    begun = [*both.ledger.values()]
    assert most_in_flight(begun) == 8
    by_user = Counter(record.user for record in both.records)
    assert set(by_user) == set(range(8))
    assert min(by_user.values()) >= 2
    assert (mean_in_flight(begun) or 0) > 4  # half would be users taking turns


def test_hidden_connection_cap(tmp_path: Path) -> None:
    """A pool of 100 connections under a load of 200 (aiohttp's and httpx's defaults)."""
    both = run(tmp_path, "ttft=4s,itl=1ms", users=200, duration_s=0.5, tokens=2)
    assert most_in_flight(both.ledger.values()) == 200
    assert len({record.user for record in both.records if record.ok}) == 200


def test_queueing_left_out_of_latency(tmp_path: Path) -> None:
    """Latency from when a cap let the request go: 506 ms shown, 1,932 true (vLLM's bench serve).

    One slot of 100 ms and ten arrivals a second too many: the n-th waits for those before it.
    """
    arrivals = Arrivals(kind="constant", rate=20.0)
    both = run(
        tmp_path, "ttft=100ms,itl=1us,slots=1", arrivals=arrivals, users=0, duration_s=1.0, tokens=2
    )
    for record, entry in both.pairs():
        assert record.ok
        assert record.intended_ns <= entry.received_ns
        assert ttft(record)[0] * 1e6 >= entry.sent_ns[0] - entry.received_ns
    waits_ms = sorted(ttft(record)[0] for record in both.records)
    assert len(waits_ms) == 20
    assert waits_ms[-1] >= 20 * 100 - 1000
