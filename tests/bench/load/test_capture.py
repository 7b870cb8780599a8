"""One request at a time against a server that does what each test says, on plain sockets."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.load.capture import Capture, Exchange, Inbox, Limits, Order
from quantswarm.bench.load.decode import decode
from quantswarm.bench.load.link import Link, endpoint_of
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.prompts import Prompt
from quantswarm.bench.load.scenario import Scenario
from quantswarm.bench.load.shaping import Shaper, body_of
from quantswarm.bench.load.warden import Warden
from quantswarm.models.errors import UserMistake

SHORT = Limits(connect_s=5, first_byte_s=0.3, stall_s=0.3, total_s=5)
TOKENS = 4


def plan_for(base_url: str, **more: Any) -> SwarmPlan:
    fields = {"served_name": "m", "users": 1, "out_dir": Path(), **more}
    api = fields.pop("api", "completions")
    scenario = Scenario(name="t", api=api, prompt_tokens=64, output_tokens=TOKENS)
    return SwarmPlan(base_url=base_url, scenario=scenario, **fields)


class Asker:
    """A user without a swarm."""

    def __init__(
        self, base_url: str, *, limits: Limits = SHORT, warden: Warden | None = None, **plan: Any
    ) -> None:
        self.warden = warden or Warden()
        made = plan_for(base_url, **plan)
        self.link = Link(endpoint_of(base_url), keeps_alive=made.keeps_alive)
        self._shaper = Shaper(made, endpoint_of(base_url))
        self._limits = limits

    def exchange(self) -> Exchange:
        payload = self._shaper.payload(Prompt(uid="u", text="u hello", tokens=None))
        order = Order(
            uid="u",
            user=0,
            intended_ns=0,
            payload=payload,
            expected_prompt_tokens=None,
            expected_output_tokens=TOKENS,
        )
        return Exchange(order, self.link, self._limits, self.warden)

    def ask(self) -> Capture:
        exchange = self.exchange()
        exchange.run()
        return exchange.capture()


@pytest.fixture
def warden() -> Iterator[Warden]:
    """Looks after whoever asks, as the swarm's does."""
    warden = Warden()
    thread = threading.Thread(target=warden.run)
    thread.start()
    yield warden
    warden.stop()
    thread.join()


@pytest.fixture
def ask(serve: Any, warden: Warden) -> Any:
    """Asks a server with the given answer once; closes the user's link afterwards."""
    links = []

    def once(answer: Any, **more: Any) -> Capture:
        asker = Asker(serve(answer).base_url, warden=warden, **more)
        links.append(asker.link)
        return asker.ask()

    yield once
    for link in links:
        link.close()


def outcome(capture: Capture) -> str:
    return decode(capture).outcome


def sends(*pieces: bytes) -> Callable[[Any, socket.socket], bool]:
    def answer(asked: Any, to: socket.socket) -> bool:
        for piece in pieces:
            to.sendall(piece)
        return False

    return answer


def hangs_after(data: bytes, until: threading.Event) -> Callable[[Any, socket.socket], bool]:
    def answer(asked: Any, to: socket.socket) -> bool:
        to.sendall(data)
        until.wait(20)
        return False

    return answer


def test_a_good_answer(ask: Any, wire: Any) -> None:
    capture = ask(wire.good)
    record = decode(capture)
    assert (record.outcome, record.output_tokens) == ("ok", TOKENS)
    assert record.sent_ns is not None
    assert record.sent_ns < record.event_ns[0] <= record.event_ns[-1] <= record.end_ns


def test_the_connection_is_kept_where_both_sides_keep_it(serve: Any, wire: Any) -> None:
    server = serve(wire.good)
    asker = Asker(server.base_url)
    captures = [asker.ask() for _ in range(3)]
    asker.link.close()
    assert [c.conn_reused for c in captures] == [False, True, True]
    assert server.connections == 1
    assert "Connection: keep-alive" in server.asked[0].head


def test_an_address_is_dialled_without_a_look_up(
    ask: Any, wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the swarm it would be a thread's, and a part of every TTFT with a new connection."""

    def looked_up(*_: object, **__: object) -> None:
        pytest.fail("looked up")

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    assert outcome(ask(wire.good)) == "ok"


def test_an_engine_that_does_not_keep_it_is_told_to_close(serve: Any, wire: Any) -> None:
    server = serve(wire.good)
    asker = Asker(server.base_url, keeps_alive=False)
    captures = [asker.ask() for _ in range(3)]
    assert [c.conn_reused for c in captures] == [False, False, False]
    assert server.connections == 3
    assert all("Connection: close" in asked.head for asked in server.asked)


def test_a_kept_connection_that_was_closed_is_replaced_and_nothing_sent_twice(
    serve: Any, wire: Any
) -> None:
    """llama-server announces keep-alive and closes all the same."""

    def answer(asked: Any, to: socket.socket) -> bool:
        to.sendall(wire.whole_answer(asked))
        return False

    server = serve(answer)
    asker = Asker(server.base_url)
    outcomes = []
    for _ in range(3):
        outcomes.append(outcome(asker.ask()))
        gone = asker.link._socket
        while gone is not None and gone.fileno() >= 0 and not _closed_by_peer(gone):
            pass
    asker.link.close()
    assert outcomes == ["ok", "ok", "ok"]
    assert len(server.asked) == 3


def _closed_by_peer(idle: socket.socket) -> bool:
    idle.settimeout(5)
    return idle.recv(1, socket.MSG_PEEK) == b""


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_an_error_status_ends_at_once_and_keeps_the_connection(ask: Any, status: int) -> None:
    body = b'{"error": "no"}'
    head = b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    release = threading.Event()
    capture = ask(hangs_after(head % (status, len(body)) + body, release))
    release.set()
    assert outcome(capture) == f"http_{status}"


def test_each_transport_failure_has_its_class(ask: Any, wire: Any) -> None:
    release = threading.Event()
    word = wire.chunk(wire.text("x"))
    assert outcome(ask(hangs_after(b"", release))) == "timeout"
    assert outcome(ask(hangs_after(wire.HEAD + word, release))) == "stalled"
    release.set()
    assert outcome(ask(sends(wire.HEAD, word))) == "truncated"
    assert outcome(ask(sends(wire.HEAD, wire.chunk(wire.DONE), wire.LAST_CHUNK))) == "empty"
    assert outcome(ask(sends())) == "reset"
    assert outcome(ask(sends(b"<html>hello</html>"))) == "malformed"


def test_a_drip_that_never_ends_meets_the_total_limit(ask: Any, wire: Any) -> None:
    release = threading.Event()

    def answer(asked: Any, to: socket.socket) -> bool:
        to.sendall(wire.HEAD)
        while not release.wait(0.02):
            to.sendall(wire.chunk(wire.text("x")))
        return False

    limits = Limits(first_byte_s=5, stall_s=5, total_s=0.4)
    capture = ask(answer, limits=limits)
    release.set()
    assert outcome(capture) == "timeout"
    assert "limit: total" in (capture.error or "")


def test_a_reset_in_the_stream(ask: Any, wire: Any) -> None:
    def answer(asked: Any, to: socket.socket) -> bool:
        to.sendall(wire.HEAD + wire.chunk(wire.text("x")))
        assert to.recv(1) == b"", "the client says nothing more, and leaves"
        return False

    def reset(asked: Any, to: socket.socket) -> bool:
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        to.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        to.sendall(wire.HEAD + wire.chunk(wire.text("x")))
        to.close()
        return False

    assert outcome(ask(answer)) == "stalled"
    assert outcome(ask(reset)) in {"reset", "truncated"}


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    capture = Asker(f"http://127.0.0.1:{port}/v1").ask()
    assert (capture.failure, capture.sent_ns, capture.stamps) == ("refused", None, capture.stamps)
    assert capture.end_ns > 0
    assert not capture.segments


def test_cancelling_keeps_what_was_seen(serve: Any, wire: Any) -> None:
    class Stop(BaseException):
        pass

    release = threading.Event()
    word = wire.chunk(wire.text("x"))
    asker = Asker(serve(hangs_after(wire.HEAD + word, release)).base_url)
    exchange = asker.exchange()
    take = exchange._inbox.take

    class Stopping(Inbox):
        def take(self, data: bytes, now_ns: int) -> bool:
            super().take(data, now_ns)
            if b"x" in b"".join(self.segments[-1:]):
                raise Stop
            return False

    assert take is not None
    exchange._inbox = Stopping()
    with pytest.raises(Stop):
        exchange.run()
    release.set()
    record = decode(exchange.capture())
    assert (record.outcome, record.events) == ("interrupted", 1)


def test_an_end_cut_into_single_bytes_is_seen() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n"
    inbox = Inbox()
    ends = [inbox.take(raw[i : i + 1], i) for i in range(len(raw))]
    assert ends == [False] * (len(raw) - 1) + [True]


def test_a_body_that_looks_like_the_end_is_not_the_end() -> None:
    inbox = Inbox()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert not inbox.take(head, 1)
    assert not inbox.take(b"a\r\ndata0\r\n\r\n", 2)
    assert inbox.take(b"x\r\n0\r\n\r\n", 3)


def test_the_body_of_a_request() -> None:
    plan = plan_for("http://h/v1", pinned_by="vllm")
    body = body_of(plan, "hi")
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert (body["prompt"], body["max_tokens"], body["ignore_eos"]) == ("hi", TOKENS, True)
    chat = body_of(plan_for("http://h/v1", api="chat"), "hi")
    assert chat["messages"] == [{"role": "user", "content": "hi"}]
    assert "ignore_eos" not in chat
    assert "prompt" not in chat


def test_the_key_comes_from_its_file(tmp_path: Path, serve: Any, wire: Any) -> None:
    key = tmp_path / "key"
    key.write_text("s3cret\n")
    server = serve(wire.good)
    asker = Asker(server.base_url, api_key_file=key)
    asker.ask()
    asker.link.close()
    assert "Authorization: Bearer s3cret" in server.asked[0].head
    assert "s3cret" not in json.dumps(server.asked[0].body)


def test_urls() -> None:
    end = endpoint_of("https://host.example:8443/api/v1/")
    assert (end.address, end.port, end.tls, end.host) == (
        "host.example",
        8443,
        True,
        "host.example:8443",
    )
    assert end.target("chat") == "/api/v1/chat/completions"
    assert endpoint_of("localhost:8000/v1").port == 8000
    assert endpoint_of("http://[::1]:9/v1").address == "::1"
    for bad in ("ftp://h/v1", "http://", "http://h:port/v1"):
        with pytest.raises(UserMistake, match="not an http"):
            endpoint_of(bad)


def test_of_a_key_file_with_comments_and_several_keys_the_first_key_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# for the team\nfirst-key\nsecond-key\n")
    url = "http://127.0.0.1:9/v1"
    shaper = Shaper(plan_for(url, api_key_file=file), endpoint_of(url))
    head = shaper.payload(Prompt(uid="u", text="u hello", tokens=None)).partition(b"\r\n\r\n")[0]
    assert b"Authorization: Bearer first-key" in head.split(b"\r\n")
    assert b"second-key" not in head
