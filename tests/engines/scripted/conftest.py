"""A scripted server in a process of its own, and a client that is a socket and nothing else."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quantswarm.engines.process import ServerProcess

DEADLINE_S = 30.0
FAST = "scripted:ttft=2ms,itl=1ms"


@dataclass
class Answer:
    """What came, segment by segment, and how it ended: "whole", "closed", "reset" or "silent"."""

    segments: list[bytes] = field(default_factory=list)
    end: str = "silent"

    @property
    def raw(self) -> bytes:
        return b"".join(self.segments)

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def body(self) -> bytes:
        rest = self.raw.partition(b"\r\n\r\n")[2]
        if "transfer-encoding" not in self.headers:
            return rest
        body = b""
        while rest and (size := int(rest.partition(b"\r\n")[0], 16)):
            rest = rest.partition(b"\r\n")[2]
            body, rest = body + rest[:size], rest[size + 2 :]
        return body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> list[str]:
        """The data of the events, in order, by the letter of the event-stream format."""
        text = self.body.decode().replace("\r\n", "\n")
        blocks = [block for block in text.split("\n\n") if block]
        lines = [[ln for ln in block.split("\n") if not ln.startswith(":")] for block in blocks]
        return ["\n".join(ln.removeprefix("data: ") for ln in block) for block in lines if block]

    @property
    def chunks(self) -> list[Any]:
        return [json.loads(data) for data in self.data if data != "[DONE]"]

    @property
    def texts(self) -> list[str]:
        """Text of each event that has some."""
        choices = [choice for chunk in self.chunks for choice in chunk.get("choices", ())]
        texts = [one["delta"].get("content") if "delta" in one else one["text"] for one in choices]
        return [text for text in texts if text]


def is_whole(raw: bytes) -> bool:
    """Whether a response is complete by its own framing."""
    head, found, rest = raw.partition(b"\r\n\r\n")
    if not found:
        return False
    length = re.search(rb"content-length: (\d+)", head)
    return len(rest) >= int(length[1]) if length else rest.endswith(b"0\r\n\r\n")


@dataclass
class Connection:
    """One connection, usable for several requests in turn."""

    port: int

    def __post_init__(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        lines = [f"{method} {path} HTTP/1.1", "host: here", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def receive(self, timeout_s: float = DEADLINE_S) -> Answer:
        answer = Answer()
        self.socket.settimeout(timeout_s)
        try:
            while not is_whole(answer.raw):
                segment = self.socket.recv(65536)
                if not segment:
                    answer.end = "closed"
                    return answer
                answer.segments.append(segment)
            answer.end = "whole"
        except ConnectionResetError:
            answer.end = "reset"
        except TimeoutError:
            answer.end = "silent"
        return answer

    def ask(self, method: str, path: str, document: Any = None, **headers: str) -> Answer:
        self.send(
            method, path, b"" if document is None else json.dumps(document).encode(), **headers
        )
        return self.receive()

    def close(self) -> None:
        self.socket.close()


@dataclass
class Server:
    """A running server and the requests a test makes of it."""

    process: ServerProcess
    port: int

    def connect(self) -> Connection:
        return Connection(self.port)

    def get(self, path: str, **headers: str) -> Answer:
        connection = self.connect()
        try:
            return connection.ask("GET", path, **headers)
        finally:
            connection.close()

    def post(self, path: str, document: Any, **headers: str) -> Answer:
        connection = self.connect()
        try:
            return connection.ask("POST", path, document, **headers)
        finally:
            connection.close()

    def complete(self, said: str = "", tokens: int = 6, **more: Any) -> Answer:
        """A stream (unless told otherwise) of the fast model with `said` added to its name."""
        return self.post("/v1/completions", self.request(said, tokens, **more))

    def request(self, said: str = "", tokens: int = 6, **more: Any) -> dict[str, Any]:
        model = f"{FAST},{said}" if said else FAST
        return {"model": model, "prompt": "a b", "max_tokens": tokens, "stream": True, **more}

    def chat(self, said: str = "", tokens: int = 6, **more: Any) -> Answer:
        document = self.request(said, tokens, **more)
        document["messages"] = [{"role": "user", "content": document.pop("prompt")}]
        return self.post("/v1/chat/completions", document)

    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.get("/ledger").body.splitlines()]

    def entry(self, request_id: str) -> dict[str, Any]:
        """The ledger's line of a request, once it has ended."""
        end_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < end_s:
            found = [one for one in self.ledger() if one["id"] == request_id and one["outcome"]]
            if found:
                return found[0]
            time.sleep(0.02)
        raise AssertionError(f"{request_id} has not ended")


def wait_for_port(process: ServerProcess) -> int:
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        found = re.search(r"listening on \S+ port (\d+)", process.tail())
        if found:
            return int(found[1])
        assert process.alive(), process.tail()
        time.sleep(0.02)
    raise AssertionError(f"not listening: {process.tail()}")


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers that end with the session, whatever happens."""
    started: list[ServerProcess] = []

    def begin(*options: str) -> Server:
        argv = (sys.executable, "-m", "quantswarm.engines.scripted.server_main", *options)
        log: Path = tmp_path_factory.mktemp("scripted") / "server.log"
        process = ServerProcess(argv, log=log)
        started.append(process)
        return Server(process, wait_for_port(process))

    yield begin
    for process in started:
        process.stop(grace_s=0)


@pytest.fixture(scope="session")
def server(launch: Callable[..., Server]) -> Server:
    """One for all tests that leave it as it was."""
    return launch("--context", "100")


@pytest.fixture(scope="session")
def wire() -> SimpleNamespace:
    """For tests that need more than `server`; test modules cannot import this file."""
    return SimpleNamespace(is_whole=is_whole, FAST=FAST)
