"""The bare client by itself: what it keeps, and that it takes no part of the package along."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.load.decode import decode
from quantswarm.bench.load.spool import captures
from quantswarm.bench.selftest.reference import MODULE
from quantswarm.bench.selftest.reference_client import drive

CHUNK = b'data: {"choices":[{"text":" a"}]}\n\n'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK)
    + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
)


@pytest.fixture
def address() -> Iterator[list[Any]]:
    """A server that answers each request with the same bytes; one that says "cut" with half."""
    listener = socket.create_server(("127.0.0.1", 0))
    peers: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                peers.append(listener.accept()[0])
                threading.Thread(target=serve, args=(peers[-1],), daemon=True).start()

    def serve(peer: socket.socket) -> None:
        with suppress(OSError):
            while data := peer.recv(1000):
                peer.sendall(ANSWER[: 100 if data == b"cut" else None])
                if data == b"cut":
                    peer.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=accept, daemon=True).start()
    yield list(listener.getsockname())
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for peer in peers:
        peer.close()


def plan(address: list[Any], requests: list[list[str]], **more: Any) -> dict[str, Any]:
    fields = {"address": address, "users": 1, "cores": [], "requests": requests}
    times = {"warmup_s": 0.0, "duration_s": 0.0, "drain_s": 10.0, "output_tokens": 1}
    return {**fields, **times, **more}


def test_one_request_a_user_with_stamps_in_order(address: list[Any]) -> None:
    requests = [["a", "x"], ["b", "y"], ["c", "z"]]
    found = drive(plan(address, requests, users=2))
    assert sorted(one["uid"] for one in found["captures"]) == ["a", "b"]
    for one in found["captures"]:
        assert one["intended_ns"] <= one["sent_ns"] <= one["stamps"][0] <= one["end_ns"]
        assert b"".join(one["segments"]) == ANSWER
        assert (one["closed"], one["conn_reused"]) == (False, False)
    assert found["window"]["start_ns"] == found["window"]["end_ns"]


def test_users_ask_again_until_the_window_ends(address: list[Any]) -> None:
    requests = [[str(number), "x"] for number in range(100_000)]
    found = drive(plan(address, requests, duration_s=0.05))
    assert len(found["captures"]) > 1
    assert {one["conn_reused"] for one in found["captures"][1:]} == {True}
    begun = [one["intended_ns"] for one in found["captures"]]
    assert begun == sorted(begun)
    assert begun[-1] < found["window"]["end_ns"]


def test_a_connection_that_ends_is_kept_as_it_was(address: list[Any]) -> None:
    (one,) = drive(plan(address, [["a", "cut"]]))["captures"]
    assert one["closed"]
    assert b"".join(one["segments"]) == ANSWER[:100]
    assert len(one["segments"]) == len(one["stamps"])


def test_the_process_leaves_a_spool_that_decodes(address: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan(address, [["a", "x"]])))
    subprocess.run([sys.executable, "-m", MODULE, str(file)], check=True, timeout=60)
    (record,) = map(decode, captures(tmp_path / "reference.spool"))
    assert (record.id, record.outcome, record.event_tokens) == ("a", "ok", (1,))
    assert set(json.loads((tmp_path / "reference.json").read_text())) == {"window", "cpu_share"}


def test_nothing_but_the_standard_library_takes_part() -> None:
    ours = "[m for m in sys.modules if m.startswith(('gevent', 'locust', 'quantswarm.bench.load'))]"
    script = f"import sys, {MODULE}; print({ours})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
