"""Streams: their text, their shapes, and the truth about them in the ledger."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from typing import Any

import pytest

SIX = "a be can day end far "


def test_a_stream_has_the_tokens_asked_for(server: Any) -> None:
    answer = server.complete(tokens=6)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.texts == ["a ", "be ", "can ", "day ", "end ", "far "]
    assert answer.data[-1] == "[DONE]"
    assert answer.chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert "usage" not in answer.chunks[-1]


def test_the_whole_answer_is_the_streams_text(server: Any) -> None:
    whole = server.complete(stream=False).json
    assert whole["choices"][0]["text"] == SIX
    assert whole["usage"] == {"prompt_tokens": 2, "completion_tokens": 6, "total_tokens": 8}
    chat = server.chat(stream=False).json
    assert chat["choices"][0]["message"] == {"role": "assistant", "content": SIX}
    assert "".join(server.chat().texts) == SIX


def test_the_ledger_has_every_event_not_before_its_time(server: Any) -> None:
    answer = server.complete("itl=list(1ms;4ms)", tokens=5)
    entry = server.entry(answer.headers["x-request-id"])
    offsets = [instant - entry["received_ns"] for instant in entry["scheduled_ns"]]
    assert offsets == [2_000_000, 3_000_000, 7_000_000, 8_000_000, 12_000_000]
    late = [b - a for a, b in zip(entry["scheduled_ns"], entry["sent_ns"], strict=True)]
    assert min(late) >= 0
    assert entry["event_tokens"] == [1] * 5
    assert (entry["tokens"], entry["prompt_tokens"]) == (5, 2)
    assert (entry["outcome"], entry["fault"], entry["status"]) == ("ok", None, 200)
    assert entry["ended_ns"] >= entry["sent_ns"][-1]


def test_the_clients_own_request_id_is_kept(server: Any) -> None:
    document = server.request(tokens=2)
    answer = server.post("/v1/completions", document, x_request_id="mine-1")
    assert answer.headers["x-request-id"] == "mine-1"
    assert server.entry("mine-1")["tokens"] == 2


def test_lockstep_streams_share_their_instants(server: Any) -> None:
    answers: list[Any] = []

    def one() -> None:
        answers.append(server.complete("ttft=30ms,lockstep=20ms", tokens=8))

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    entries = [server.entry(answer.headers["x-request-id"]) for answer in answers]
    instants = [set(entry["scheduled_ns"]) for entry in entries]
    assert all(instant % 20_000_000 == 0 for found in instants for instant in found)
    assert len(set.union(*instants)) < 6 * 8


def test_slots_make_requests_wait_in_order(server: Any) -> None:
    document = server.request("ttft=40ms,slots=1,seed=77", tokens=1)
    connections = [server.connect() for _ in range(3)]
    for connection in connections:
        connection.send("POST", "/v1/completions", json.dumps(document).encode())
    ids = [connection.receive().headers["x-request-id"] for connection in connections]
    entries = sorted((server.entry(one) for one in ids), key=lambda entry: entry["index"])
    for before, after in pairwise(entries):
        assert after["started_ns"] == max(after["received_ns"], before["scheduled_ns"][-1])


@pytest.mark.parametrize(
    ("said", "more", "tokens", "reason"),
    [
        ("tokens=3", {}, 3, "stop"),
        ("tokens=9", {}, 6, "length"),
        ("tokens=3", {"ignore_eos": True}, 6, "length"),
        ("tokens=3", {"min_tokens": 5}, 5, "stop"),
        ("tokens=3", {"max_tokens": None}, 3, "stop"),
        ("", {"max_tokens": None}, 16, "length"),
        ("tokens=list(2;4)", {}, 2, "stop"),
    ],
)
def test_lengths(server: Any, said: str, more: dict[str, Any], tokens: int, reason: str) -> None:
    said = f"{said},seed={len(said)}{tokens}{len(more)}".strip(",")
    answer = server.complete(said, **more)
    assert len(answer.texts) == tokens
    assert answer.chunks[-1]["choices"][0]["finish_reason"] == reason


class TestShapes:
    def test_several_tokens_an_event(self, server: Any) -> None:
        answer = server.complete("per_event=4")
        assert answer.texts == ["a be can day ", "end far "]
        entry = server.entry(answer.headers["x-request-id"])
        assert entry["event_tokens"] == [4, 2]
        first = entry["received_ns"] + 2_000_000
        assert entry["scheduled_ns"] == [first + 3_000_000, first + 5_000_000]

    def test_several_events_a_segment(self, server: Any) -> None:
        answer = server.complete("per_segment=3,head=first,itl=20ms")
        entry = server.entry(answer.headers["x-request-id"])
        assert len(set(entry["scheduled_ns"])) == len(set(entry["sent_ns"])) == 2
        assert "".join(answer.texts) == SIX
        framed = answer.raw.partition(b"\r\n\r\n")[2].split(b"\r\n")[1::2]
        assert [one.count(b"data: ") for one in framed] == [3, 3, 1, 0]

    @pytest.mark.parametrize("split", ["half", "utf8"])
    def test_an_event_in_two_segments(self, server: Any, split: str) -> None:
        answer = server.complete(f"split={split},itl=20ms", tokens=3)
        whole = server.complete("text=utf8" if split == "utf8" else "", tokens=3)
        assert answer.texts == whole.texts
        assert len(answer.chunks) == len(whole.chunks)
        framed = answer.raw.partition(b"\r\n\r\n")[2].split(b"\r\n")[1::2]
        assert not framed[0].endswith(b"\n\n")
        if split == "utf8":
            with pytest.raises(UnicodeDecodeError):
                framed[0].decode()

    def test_line_ends_and_comments(self, server: Any) -> None:
        answer = server.complete("eol=crlf,comments=2")
        assert b"\n\n" not in answer.body
        assert answer.body.count(b"\r\n\r\n") == answer.body.count(b"data: ") + 3
        assert answer.body.count(b": still here") == 3
        assert "".join(answer.texts) == SIX

    @pytest.mark.parametrize("role", ["first", "early", "merged", "absent"])
    def test_the_role(self, server: Any, role: str) -> None:
        answer = server.chat(f"role={role},ttft=50ms")
        deltas = [choice["delta"] for chunk in answer.chunks for choice in chunk["choices"]]
        with_role = [delta for delta in deltas if "role" in delta]
        assert len(with_role) == (role != "absent")
        assert (deltas[0] == {"role": "assistant", "content": ""}) == (role in ("first", "early"))
        assert answer.texts == ["a ", "be ", "can ", "day ", "end ", "far "]
        early = b"".join(answer.segments).partition(b"a ")[0]
        assert early.count(b'"assistant"') == (role != "absent") or role == "merged"

    def test_the_head_may_wait_for_the_first_token(self, server: Any) -> None:
        early = server.complete("ttft=200ms,head=early", tokens=2)
        late = server.complete("ttft=200ms,head=first", tokens=2)
        assert b"data:" not in early.segments[0]
        assert late.segments[0].startswith(b"HTTP/1.1 200")
        assert b"data:" in late.segments[0]

    @pytest.mark.parametrize("asked", [False, True])
    @pytest.mark.parametrize("usage", ["asked", "absent", "final", "merged", "continuous", "wrong"])
    def test_usage(self, server: Any, usage: str, asked: bool) -> None:
        options = {"stream_options": {"include_usage": True}} if asked else {}
        chunks = server.complete(f"usage={usage}", **options).chunks
        counts = [chunk["usage"]["completion_tokens"] for chunk in chunks if "usage" in chunk]
        expected = {
            "asked": [6] if asked else [],
            "absent": [],
            "final": [6],
            "merged": [6],
            "continuous": [1, 2, 3, 4, 5, 6, 6],
            "wrong": [9],
        }
        assert counts == expected[usage]
        assert (chunks[-1]["choices"] == []) == (bool(counts) and usage != "merged")

    def test_running_usage_when_asked(self, server: Any) -> None:
        options = {"include_usage": True, "continuous_usage_stats": True}
        chunks = server.complete(stream_options=options, tokens=2).chunks
        assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [1, 2, 2]

    def test_no_done(self, server: Any) -> None:
        answer = server.complete("done=no")
        assert "[DONE]" not in answer.data
        assert answer.end == "whole"

    def test_the_end_apart(self, server: Any) -> None:
        last = server.complete("finish=apart").chunks[-1]["choices"][0]
        assert (last["text"], last["finish_reason"]) == ("", "length")
        last = server.chat("finish=apart").chunks[-1]["choices"][0]
        assert (last["delta"], last["finish_reason"]) == ({}, "length")

    def test_timings(self, server: Any) -> None:
        timings = server.complete("timings=yes,usage=merged").chunks[-1]["timings"]
        assert (timings["prompt_n"], timings["predicted_n"]) == (2, 6)
        assert timings["predicted_ms"] == pytest.approx(5)
        assert timings["prompt_ms"] == pytest.approx(2)

    def test_the_connection_may_close_against_its_word(self, server: Any) -> None:
        connection = server.connect()
        answer = connection.ask("POST", "/v1/completions", server.request("close=yes"))
        assert (answer.end, answer.headers["connection"]) == ("whole", "keep-alive")
        assert connection.receive().end == "closed"


def test_logprobs_come_with_each_event(server: Any) -> None:
    for chunk in server.complete(logprobs=2, tokens=3).chunks:
        scores = chunk["choices"][0]["logprobs"]
        assert len(scores["tokens"]) == len(scores["token_logprobs"]) == 1
        assert len(scores["top_logprobs"][0]) == 2
    for chunk in server.chat("role=absent", tokens=3, logprobs=True, top_logprobs=3).chunks:
        (scored,) = chunk["choices"][0]["logprobs"]["content"]
        assert len(scored["top_logprobs"]) == 3
        assert bytes(scored["bytes"]).decode() == scored["token"]
