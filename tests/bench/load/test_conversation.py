"""Conversations from end to end: history is what was truly said, in closed and open loops."""

from __future__ import annotations

import itertools
import json
import socket
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.load.arrivals import Arrivals
from quantswarm.bench.load.capture import Capture
from quantswarm.bench.load.conversation import answer_in
from quantswarm.bench.load.draft import draft_of
from quantswarm.bench.load.lengths import length_from
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.scenario import Scenario, scenario_from
from quantswarm.bench.load.schedule import read_schedule, schedule_of
from quantswarm.bench.load.swarm import RECORDS, drive
from quantswarm.models.errors import UserMistake

TURNS = Scenario(
    name="talk",
    api="chat",
    prompt_tokens=length_from({"dist": "uniform", "min": 24, "max": 32}, 1),
    output_tokens=length_from({"dist": "uniform", "min": 2, "max": 6}, 1),
    turns=length_from({"dist": "list", "values": [1, 2, 3]}, 1),
    think_time_s=0.02,
)
MIX = scenario_from(
    {"mix": [{"scenario": "smoke", "weight": 1}, {"scenario": "chat", "weight": 1}]}, Path("m.toml")
)


def plan_for(base_url: str, out_dir: Path, scenario: Scenario = TURNS, **more: Any) -> SwarmPlan:
    fields: dict[str, Any] = {"users": 3, "warmup_s": 0.3, "duration_s": 1.5, "drain_s": 5.0}
    return SwarmPlan(
        base_url=base_url,
        served_name="m",
        scenario=scenario,
        out_dir=out_dir,
        pinned_by="vllm",
        **{**fields, **more},
    )


def conversations_in(folder: Path) -> dict[str, list[dict[str, Any]]]:
    found = defaultdict(list)
    for line in (folder / RECORDS).read_text().splitlines():
        record = json.loads(line)
        found[record["conversation"]].append(record)
    return {key: sorted(turns, key=lambda record: record["turn"]) for key, turns in found.items()}


class Scribe:
    """Answers like any server, and writes down what each request was answered with."""

    def __init__(self, wire: Any, fails: str | None = None) -> None:
        self._wire = wire
        self._fails = fails
        self.said: dict[str, str] = {}

    def __call__(self, asked: Any, to: socket.socket) -> bool:
        last = asked.body["messages"][-1]["content"]
        turn = 1 + len(asked.body["messages"]) // 2
        if self._fails == f"turn {turn}":
            to.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
            return True
        self.said[last] = "".join(f" w{n}" for n in range(asked.tokens))
        kept: bool = self._wire.good(asked, to)
        return kept


def check_history(server: Any, scribe: Scribe) -> int:
    """Every request's messages are what was said before, on both sides; counts the later turns."""
    later = 0
    for asked in server.asked:
        messages = asked.body["messages"]
        roles = [message["role"] for message in messages]
        assert roles == ["user", "assistant"] * (len(messages) // 2) + ["user"]
        for question, answer in zip(messages[::2], messages[1::2], strict=False):
            assert answer["content"] == scribe.said[question["content"]]
            later += 1
    return later


def check_turns(conversations: dict[str, list[dict[str, Any]]], think_ns: int) -> None:
    for first, turns in conversations.items():
        assert [record["turn"] for record in turns] == list(range(1, len(turns) + 1))
        assert turns[0]["id"] == first
        assert len({record["user"] for record in turns}) == 1
        for before, after in itertools.pairwise(turns):
            assert after["intended_ns"] >= before["end_ns"] + think_ns
            assert after["sent_ns"] >= after["intended_ns"]


def test_users_hold_one_conversation_after_another(serve: Any, wire: Any, tmp_path: Path) -> None:
    scribe = Scribe(wire)
    server = serve(scribe)
    result = drive(plan_for(server.base_url, tmp_path))
    conversations = conversations_in(tmp_path)
    assert result.outcomes == {"ok": len(server.asked)}
    assert result.invalid_reason is None
    assert check_history(server, scribe) > 10
    check_turns(conversations, 20_000_000)
    assert {len(turns) for turns in conversations.values()} == {1, 2, 3}
    assert all(a.body["max_tokens"] == a.body["min_tokens"] for a in server.asked)
    assert len({a.body["min_tokens"] for a in server.asked}) > 2  # each pins its own length


def test_an_arrival_begins_a_conversation(serve: Any, wire: Any, tmp_path: Path) -> None:
    scribe = Scribe(wire)
    server = serve(scribe)
    plan = plan_for(server.base_url, tmp_path, arrivals=Arrivals(rate=20.0), users=0)
    result = drive(plan)
    schedule, conversations = read_schedule(tmp_path), conversations_in(tmp_path)
    assert schedule == schedule_of(plan)
    assert len(conversations) == len(schedule) == result.harness["arrivals_planned"]
    check_turns(conversations, 20_000_000)
    assert check_history(server, scribe) > 5
    window = result.window
    assert window.swarm_start_ns is not None
    assert window.end_ns is not None
    planned = {arrival.index: arrival for arrival in schedule}
    for turns in conversations.values():
        number = turns[0]["user"]
        assert turns[0]["intended_ns"] == window.swarm_start_ns + planned[number].offset_ns
        wanted = draft_of(TURNS, seed=0, number=number).turns
        assert [r["output_tokens"] for r in turns] == [out for _, out in wanted[: len(turns)]]
        if turns[-1]["end_ns"] + 200_000_000 < window.end_ns:
            assert len(turns) == len(wanted)
        assert all(record["intended_ns"] < window.end_ns for record in turns)


def test_the_end_does_not_wait_for_those_who_think(serve: Any, wire: Any, tmp_path: Path) -> None:
    server = serve(Scribe(wire))
    slow = Scenario(
        name="slow", api="chat", prompt_tokens=24, output_tokens=2, turns=2, think_time_s=600.0
    )
    arrivals = Arrivals(rate=20.0)
    plan = plan_for(server.base_url, tmp_path, slow, arrivals=arrivals, users=0, drain_s=300.0)
    result = drive(plan)
    assert result.window.drained_ns is not None
    assert result.window.end_ns is not None
    assert result.window.drained_ns - result.window.end_ns < 60e9
    assert all(len(turns) == 1 for turns in conversations_in(tmp_path).values())
    assert (result.invalid_reason, result.interrupted) == (None, False)


@pytest.mark.parametrize("arrivals", [None, Arrivals(rate=20.0)])
def test_a_failed_turn_ends_its_conversation(
    serve: Any, wire: Any, tmp_path: Path, arrivals: Arrivals | None
) -> None:
    server = serve(Scribe(wire, fails="turn 2"))
    result = drive(plan_for(server.base_url, tmp_path, arrivals=arrivals))
    conversations = conversations_in(tmp_path)
    assert {len(turns) for turns in conversations.values()} == {1, 2}
    failed = [turns[1] for turns in conversations.values() if len(turns) == 2]
    assert {record["outcome"] for record in failed} == {"http_503"}
    assert result.recorded == result.started


@pytest.mark.parametrize("arrivals", [None, Arrivals(rate=30.0)])
def test_a_mix_asks_each_part_in_its_own_way(
    serve: Any, wire: Any, tmp_path: Path, arrivals: Arrivals | None
) -> None:
    server = serve(wire.good)
    result = drive(plan_for(server.base_url, tmp_path, MIX, arrivals=arrivals))
    records = [json.loads(line) for line in (tmp_path / RECORDS).read_text().splitlines()]
    by_part = defaultdict(list)
    for record in records:
        assert "conversation" not in record
        by_part[record["part"]].append(record)
    assert set(by_part) == {"smoke", "chat"}
    assert {record["expected_output_tokens"] for record in by_part["smoke"]} == {32}
    assert len({record["expected_output_tokens"] for record in by_part["chat"]}) > 3
    chats = [asked for asked in server.asked if "messages" in asked.body]
    assert len(chats) == len(by_part["chat"])
    assert all("/chat/completions" in asked.head for asked in chats)
    assert result.outcomes == {"ok": len(records)}


def test_a_plain_scenarios_records_have_no_new_keys(serve: Any, wire: Any, tmp_path: Path) -> None:
    plain = Scenario(name="plain", api="completions", prompt_tokens=24, output_tokens=2)
    drive(plan_for(serve(wire.good).base_url, tmp_path, plain, duration_s=0.3))
    for line in (tmp_path / RECORDS).read_text().splitlines():
        assert not {"part", "conversation", "turn"} & set(json.loads(line))


def test_a_trace_and_drawn_kinds_contradict_each_other(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n0.0,30,2\n")
    arrivals = Arrivals(kind="trace", trace=trace)
    with pytest.raises(UserMistake, match="brings the length of every request"):
        drive(plan_for("http://127.0.0.1:1/v1", tmp_path / "out", arrivals=arrivals))


def test_an_answer_is_read_out_of_either_api(wire: Any) -> None:
    events = [
        wire.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}),
        'data: {"choices": [{"index": 0, "delta": {"content": "Hé"}}]}\n\n'.encode(),
        wire.text(" there"),
        b"data: nonsense\n\n",
        wire.event({"choices": []}),
        wire.event({"choices": [{"index": 0, "delta": {}}]}),
        wire.DONE,
    ]
    raw = b"".join([wire.HEAD, *map(wire.chunk, events), wire.LAST_CHUNK])
    cut = raw.index("é".encode()) + 1  # inside the character
    capture = Capture(
        uid="u",
        user=0,
        intended_ns=0,
        sent_ns=0,
        end_ns=2,
        conn_reused=False,
        closed=False,
        failure=None,
        error=None,
        expected_prompt_tokens=None,
        expected_output_tokens=2,
        stamps=(1, 2),
        segments=(raw[:cut], raw[cut:]),
    )
    assert answer_in(capture) == "Hé there"
