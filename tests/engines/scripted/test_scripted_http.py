"""The endpoints, refusals, and what an odd client may send."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.engines.scripted import vocabulary
from quantswarm.engines.scripted.http_request import BadRequestSyntax, RequestParser


def test_health_and_models(server: Any) -> None:
    assert server.get("/health").status == 200
    assert [model["id"] for model in server.get("/v1/models").json["data"]] == ["scripted"]
    assert server.get("/v1/models/scripted").json["id"] == "scripted"
    assert server.get("/v1/models/other").status == 404
    assert server.get("/nowhere").status == 404
    assert server.get("/v1/completions").status == 405


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"model": "other"}, 404, "does not exist"),
        ({"model": "scriptedttft=1ms"}, 404, "does not exist"),
        ({"model": 5}, 404, "does not exist"),
        ({"model": "scripted:ttf=1ms"}, 400, "Did you mean ttft"),
        ({"prompt": "x " * 101}, 400, "101"),
        ({"prompt": []}, 400, "prompt"),
        ({"prompt": [1, "a"]}, 400, "prompt"),
        ({"max_tokens": -1}, 400, "max_tokens"),
        ({"max_tokens": 0}, 400, "at least 1"),
        ({"max_tokens": True}, 400, "max_tokens"),
        ({"min_tokens": 7}, 400, "above max_tokens"),
        ({"n": 2}, 400, "one choice"),
        ({"echo": True}, 400, "no echo"),
        ({"logprobs": 21}, 400, "at most 20"),
        ({"stream_options": 3}, 400, "stream_options"),
    ],
)
def test_refusals_say_what_is_wrong(
    server: Any, change: dict[str, Any], status: int, words: str
) -> None:
    answer = server.post("/v1/completions", server.request() | change)
    assert answer.status == status
    assert words in answer.json["error"]["message"]
    assert server.entry(answer.headers["x-request-id"])["outcome"] == "refused"


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b"\xff", b"[" * 200_000])
def test_a_body_that_is_not_json(server: Any, body: bytes) -> None:
    connection = server.connect()
    connection.send("POST", "/v1/completions", body)
    answer = connection.receive()
    assert answer.status == 400
    assert "JSON" in answer.json["error"]["message"]


@pytest.mark.parametrize("messages", [None, [], "hello", ["hello"], [{"content": 5}]])
def test_a_conversation_that_is_none(server: Any, messages: Any) -> None:
    document = {"model": "scripted", "messages": messages}
    assert server.post("/v1/chat/completions", document).status == 400


def test_parts_of_a_message_count_as_text(server: Any) -> None:
    parts = [{"type": "text", "text": "a b"}, {"type": "text", "text": "c"}]
    document = server.request(stream=False) | {"messages": [{"role": "user", "content": parts}]}
    answer = server.post("/v1/chat/completions", document)
    assert answer.json["usage"]["prompt_tokens"] == 3


def test_the_connection_is_kept_and_requests_may_come_early(server: Any) -> None:
    connection = server.connect()
    for _ in range(3):
        assert connection.ask("POST", "/v1/completions", server.request()).end == "whole"
    connection.send("GET", "/health")
    connection.send("GET", "/v1/models")
    first = connection.receive()
    rest = first.body or connection.receive().raw
    assert b"scripted" in rest
    connection.close()


def test_the_connection_is_closed_when_asked(server: Any) -> None:
    connection = server.connect()
    connection.send(
        "POST", "/v1/completions", json.dumps(server.request()).encode(), connection="close"
    )
    answer = connection.receive()
    assert answer.headers["connection"] == "close"
    assert connection.receive().end == "closed"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_bytes_that_are_no_request_end_the_connection(server: Any, raw: bytes, status: int) -> None:
    connection = server.connect()
    connection.socket.sendall(raw)
    assert connection.receive().status == status
    assert connection.receive().end in ("closed", "reset")


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=4), st.integers(1, 7))
def test_requests_are_the_same_however_they_are_cut(bodies: list[bytes], size: int) -> None:
    raw = b"".join(b"POST /x?y HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(b) + b for b in bodies)
    parser, found = RequestParser(), []
    for start in range(0, len(raw), size):
        parser.feed(raw[start : start + size])
        while request := parser.take():
            found.append((request.method, request.path, request.body))
    assert found == [("POST", "/x", body) for body in bodies]


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(raw: bytes) -> None:
    parser = RequestParser()
    parser.feed(raw)
    with contextlib.suppress(BadRequestSyntax):
        parser.take()


def test_an_echo_has_a_perplexity_in_closed_form(server: Any) -> None:
    ids = list(range(40))
    asked = {"prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 1, "stream": False}
    scores = server.complete(**asked).json["choices"][0]["logprobs"]
    assert scores["token_logprobs"][0] is None
    scored = scores["token_logprobs"][1:]
    exponents = [1 + one % 4 for one in ids[1:]]
    assert math.exp(-sum(scored) / 39) == pytest.approx(2 ** (sum(exponents) / 39))
    assert vocabulary.perplexity(ids[1:]) == pytest.approx(2 ** (sum(exponents) / 39))


def test_an_echo_of_text_gives_it_back(server: Any) -> None:
    text = "  a be\n\nsomething t900 "
    asked = {"prompt": text, "echo": True, "logprobs": 0, "stream": False}
    choice = server.complete(tokens=2, **asked).json["choices"][0]
    assert choice["text"] == f"{text}a be "
    scores = choice["logprobs"]
    for piece, offset in zip(scores["tokens"], scores["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(piece)
    assert scores["token_logprobs"][3] == vocabulary.logprob(900)


def test_half_a_character_harms_nobody(server: Any) -> None:
    asked = {"prompt": "a \ud800", "echo": True, "logprobs": 1, "stream": False}
    assert server.complete(tokens=2, **asked).json["choices"][0]["text"] == "a \ud800a be "
    assert server.post("/v1/completions", {"model": "\ud800", "prompt": "x"}).status == 404
    assert server.complete().status == 200


def test_prompts_in_a_batch_get_a_choice_each(server: Any) -> None:
    answer = server.complete(prompt=[[1, 2], [3]], stream=False, tokens=2).json
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["usage"]["prompt_tokens"] == 3
    assert answer["usage"]["completion_tokens"] == 4


@given(st.integers(0, 10**6))
def test_ids_and_words_go_both_ways(token: int) -> None:
    assert vocabulary.id_of(vocabulary.text_of(token)) == token


@given(st.text())
def test_pieces_are_the_text(text: str) -> None:
    pieces = vocabulary.pieces(text)
    assert "".join(pieces) == (text if text.split() else "")
    assert len(pieces) == vocabulary.count_words(text)


def test_tokenize(server: Any) -> None:
    found = server.post("/tokenize", {"prompt": "a be t900"}).json
    assert found == {"tokens": [0, 1, 900], "count": 3, "max_model_len": 100}
    assert server.post("/tokenize", {"content": "a"}).json["count"] == 1
    assert server.post("/tokenize", {}).status == 400


def test_metrics_count_what_was_served(launch: Callable[..., Any]) -> None:
    fresh = launch()
    for tokens in (3, 5):
        fresh.entry(fresh.complete(tokens=tokens).headers["x-request-id"])
    lines = fresh.get("/metrics").body.decode().splitlines()
    values = {
        name: float(value)
        for name, _, value in (ln.rpartition(" ") for ln in lines if "#" not in ln)
    }
    labels = '{model_name="scripted",engine="0"}'
    assert values[f"vllm:generation_tokens_total{labels}"] == 8
    assert values[f"vllm:prompt_tokens_total{labels}"] == 4
    assert values[f"vllm:num_requests_running{labels}"] == 0
    assert values[f"vllm:inter_token_latency_seconds_count{labels}"] == 6
    assert values[f"vllm:time_to_first_token_seconds_count{labels}"] == 2
    assert values["llamacpp:tokens_predicted_total"] == 8
    assert values["llamacpp:requests_processing"] == 0


def test_the_key_guards_v1_only(launch: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "key").write_text("# a comment\nsecret\n")
    locked = launch("--api-key-file", str(tmp_path / "key"))
    assert locked.get("/health").status == 200
    assert locked.get("/v1/models").status == 401
    assert locked.get("/v1/models", authorization="Bearer wrong").status == 401
    assert locked.get("/v1/models", authorization="Bearer secret").status == 200


def test_the_ledgers_file_is_written_before_a_gentle_end(
    launch: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "ledger.jsonl"
    ending = launch("--ledger", str(file), "--behaviour", "ttft=1ms,itl=1ms")
    document = {"model": "scripted", "prompt": "x", "max_tokens": 4, "stream": True}
    request_id = ending.post("/v1/completions", document).headers["x-request-id"]
    psutil.Process(ending.process.pid).send_signal(signal.SIGTERM)
    end_s = time.monotonic() + 20
    while ending.process.alive():
        assert time.monotonic() < end_s
        time.sleep(0.01)
    assert ending.process.exit_code() == 0
    (line,) = file.read_text().splitlines()
    assert (json.loads(line)["id"], json.loads(line)["tokens"]) == (request_id, 4)
