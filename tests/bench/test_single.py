"""`swarm --url`: what answers at the address is asked for its model before any load is sent."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quantswarm.bench.single import Load, drive_url
from quantswarm.engines.prepare import ServeOptions
from quantswarm.models.errors import BadFile, NotAvailable, QuantswarmError, UserMistake

Stub = Callable[[bytes], str]


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, len(body)) + body


@pytest.fixture
def stub() -> Iterator[Stub]:
    """Starts a server that gives every connection these bytes; returns its base URL."""
    servers: list[socketserver.TCPServer] = []

    def start(answer: bytes) -> str:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.recv(65_536)
                self.request.sendall(answer)

        server = socketserver.TCPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refused(
    url: str, tmp_path: Path, key: Path | None = None, scenario: str = "smoke"
) -> QuantswarmError:
    """The error for that URL; nothing may have been written for it."""
    out = tmp_path / "run"
    load = Load(scenario=scenario, users=1, warmup_s=0.0, duration_s=0.2, out=out)
    with pytest.raises(QuantswarmError) as caught:
        drive_url(url, None, ServeOptions(api_key_file=key), load, lambda _text: None)
    assert not out.exists()
    assert caught.value.next_step
    return caught.value


def test_what_does_not_speak_http_is_said_so(stub: Stub, tmp_path: Path) -> None:
    error = refused(stub(b"SSH-2.0-OpenSSH_9\r\n"), tmp_path)
    assert isinstance(error, NotAvailable)
    assert "does not speak HTTP" in error.found


def test_a_web_page_is_no_list_of_models(stub: Stub, tmp_path: Path) -> None:
    error = refused(stub(http(b"<html>hello</html>")), tmp_path)
    assert isinstance(error, BadFile)
    assert "<html>hello" in error.evidence


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"data": []}', b'{"data": [{}]}', b"null"])
def test_json_without_a_model_is_refused(stub: Stub, tmp_path: Path, body: bytes) -> None:
    assert isinstance(refused(stub(http(body)), tmp_path), BadFile)


def test_a_wrong_key_shows_the_servers_words(stub: Stub, tmp_path: Path) -> None:
    error = refused(stub(http(b"invalid api key", b"401 Unauthorized")), tmp_path)
    assert "401" in error.found
    assert "invalid api key" in error.evidence
    assert "--api-key-file" in error.next_step


def test_a_data_set_that_needs_a_tokenizer_is_refused(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "asks.json").write_text(
        '[{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes"}]}]'
    )
    file = tmp_path / "asks.toml"
    file.write_text('api = "chat"\ndata = "asks.json"\n')
    error = refused(stub(http(b"{}")), tmp_path, scenario=str(file))
    assert "no tokenizer is known" in error.found


def test_a_missing_key_file_is_named(stub: Stub, tmp_path: Path) -> None:
    error = refused(stub(http(b"{}")), tmp_path, key=tmp_path / "nokey")
    assert "nokey" in error.asked


@pytest.mark.parametrize("url", ["http://127.0.0.1:nan/v1", "ftp://127.0.0.1/v1", "http:///v1"])
def test_what_is_no_url_is_the_users_mistake(url: str, tmp_path: Path) -> None:
    assert isinstance(refused(url, tmp_path), UserMistake)


def test_a_url_without_a_scheme_is_http(stub: Stub, tmp_path: Path) -> None:
    error = refused(stub(http(b"{}")).removeprefix("http://"), tmp_path)
    assert "not a list of models" in error.found
