"""Every fault as a client meets it, and as the ledger tells it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import psutil
import pytest


def outcome(server: Any, answer: Any) -> tuple[str, str]:
    entry = server.entry(answer.headers["x-request-id"])
    return entry["fault"], entry["outcome"]


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503, 520])
@pytest.mark.parametrize("stream", [True, False])
def test_statuses(server: Any, status: int, stream: bool) -> None:
    answer = server.complete(f"fault={status}", stream=stream)
    assert answer.status == status
    assert answer.json["error"]["code"] == status
    assert ("retry-after" in answer.headers) == (status == 429)
    assert outcome(server, answer) == (str(status), "failed")
    assert server.entry(answer.headers["x-request-id"])["status"] == status


def test_an_html_page(server: Any) -> None:
    answer = server.complete("fault=html")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html")
    assert answer.body.startswith(b"<!DOCTYPE html>")
    assert outcome(server, answer) == ("html", "failed")


def test_an_error_event(server: Any) -> None:
    answer = server.complete("fault=error-event@token:2")
    assert answer.texts == ["a ", "be "]
    assert answer.chunks[-1]["error"]["code"] == 500
    assert (answer.data[-1], answer.end) == ("[DONE]", "whole")
    assert outcome(server, answer) == ("error-event", "failed")
    assert server.complete("fault=error-event", stream=False).status == 500


def test_malformed_json(server: Any) -> None:
    answer = server.complete("fault=malformed@token:2")
    with pytest.raises(ValueError, match="Expecting"):
        _ = answer.chunks
    assert (answer.data[-1], answer.end) == ("[DONE]", "whole")
    assert outcome(server, answer) == ("malformed", "failed")
    whole = server.complete("fault=malformed", stream=False)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        _ = whole.json


def test_reset(server: Any) -> None:
    answer = server.complete("fault=reset@token:3,itl=20ms")
    assert answer.end == "reset"
    assert answer.raw.count(b"data: ") == 3
    assert outcome(server, answer) == ("reset", "cut")
    assert server.complete("fault=reset", stream=False).end == "reset"


def test_close_without_terminator(server: Any) -> None:
    answer = server.complete("fault=close@token:3")
    assert answer.end == "closed"
    assert answer.raw.count(b"data: ") == 3
    assert outcome(server, answer) == ("close", "cut")
    assert server.complete("fault=close", stream=False).end == "closed"


def test_truncated_with_a_proper_end(server: Any) -> None:
    answer = server.complete("fault=truncated@token:3", stream_options={"include_usage": True})
    assert (len(answer.texts), answer.data[-1], answer.end) == (3, "[DONE]", "whole")
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in answer.chunks)
    assert outcome(server, answer) == ("truncated", "failed")
    assert server.complete("fault=truncated", stream=False).end == "closed"


def test_silence(server: Any) -> None:
    for said, begun in (("fault=hang", False), ("fault=stall@token:2", True)):
        connection = server.connect()
        connection.send("POST", "/v1/completions", dumped(server.request(said)))
        answer = connection.receive(timeout_s=1.0)
        assert answer.end == "silent"
        assert (answer.raw.count(b"data: ") == 2) == begun
        connection.close()
    faults = [one["fault"] for one in server.ledger() if one.get("outcome") == "cut"]
    assert {"hang", "stall"} <= set(faults)


def test_a_stall_that_ends(server: Any) -> None:
    answer = server.complete("fault=stall@token:2@for:80ms")
    assert len(answer.texts) == 6
    assert outcome(server, answer) == ("stall", "ok")
    instants = server.entry(answer.headers["x-request-id"])["scheduled_ns"]
    gaps = [after - before for before, after in pairwise(instants)]
    assert gaps == [1_000_000, 81_000_000, 1_000_000, 1_000_000, 1_000_000]


def test_a_slow_loris(server: Any) -> None:
    answer = server.complete("fault=slow-loris@token:1@for:500us", tokens=2)
    assert answer.texts == ["a ", "be "]
    assert len(answer.segments) > 20
    assert outcome(server, answer) == ("slow-loris", "ok")


def test_a_fault_beyond_the_end_strikes_at_the_end(server: Any) -> None:
    answer = server.complete("fault=close@token:99")
    assert (len(answer.texts), answer.end) == (6, "closed")
    assert "[DONE]" not in answer.data


def test_faults_go_by_the_index_of_the_request(server: Any) -> None:
    said = "seed=1234,fault=503@index:1..2"
    assert [server.complete(said).status for _ in range(4)] == [200, 503, 503, 200]


def test_a_freeze_stops_everybody_and_ends(launch: Callable[..., Any]) -> None:
    frozen = launch()
    pid = frozen.process.pid
    connection = frozen.connect()
    request = frozen.request("fault=freeze@token:2@for:400ms")
    connection.send("POST", "/v1/completions", dumped(request))
    end_s = time.monotonic() + 20
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < end_s
        time.sleep(0.005)
    answer = connection.receive()
    assert len(answer.texts) == 6
    entry = frozen.entry(answer.headers["x-request-id"])
    late_ns = [b - a for a, b in zip(entry["scheduled_ns"], entry["sent_ns"], strict=True)]
    assert max(late_ns[:2]) < max(late_ns[2:])
    assert late_ns[2] > 300_000_000


def test_exit_takes_the_server_and_leaves_the_ledger(
    launch: Callable[..., Any], tmp_path: Any
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    dying = launch("--ledger", str(ledger))
    answer = dying.complete("fault=exit@token:2")
    assert answer.end in ("closed", "reset")
    end_s = time.monotonic() + 20
    while dying.process.alive():
        assert time.monotonic() < end_s
        time.sleep(0.01)
    assert dying.process.exit_code() == 3
    assert '"fault": "exit"' in ledger.read_text()


def test_a_client_that_leaves_is_noticed(server: Any) -> None:
    connection = server.connect()
    document = server.request("itl=20ms", tokens=500)
    connection.send("POST", "/v1/completions", dumped(document), x_request_id="leaves")
    assert connection.socket.recv(10)
    connection.close()
    assert server.entry("leaves")["outcome"] == "gone"


def dumped(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()
