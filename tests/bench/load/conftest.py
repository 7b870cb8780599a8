"""A small HTTP server in this process whose every byte a test decides."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def event(document: object) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def text(word: str, **more: Any) -> bytes:
    return event({"choices": [{"index": 0, "text": word, "finish_reason": None}], **more})


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion}


def finish(reason: str, **more: Any) -> bytes:
    return event({"choices": [{"index": 0, "text": "", "finish_reason": reason}], **more})


DONE = b"data: [DONE]\n\n"


@dataclass
class Asked:
    """One request as the server saw it."""

    number: int
    head: str
    body: dict[str, Any]
    connection: int

    @property
    def tokens(self) -> int:
        return int(self.body["max_tokens"])


def whole_answer(asked: Asked) -> bytes:
    """A good stream of exactly the tokens asked for, each event in its own chunk."""
    words = [chunk(text(f" w{n}")) for n in range(asked.tokens)]
    end = [finish("length"), event({"choices": [], "usage": usage(64, asked.tokens)}), DONE]
    return b"".join([HEAD, *words, *map(chunk, end), LAST_CHUNK])


Answer = Callable[[Asked, socket.socket], bool]
"""Sends the answer; says whether to keep the connection."""


def good(asked: Asked, to: socket.socket) -> bool:
    to.sendall(whole_answer(asked))
    return "connection: keep-alive" in asked.head.lower()


@dataclass
class Server:
    answer: Answer
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for peer in self._open:
                peer.close()
        self._threads[0].join(5)

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(peer)
                self.connections += 1
                number = self.connections
            threading.Thread(target=self._serve, args=(peer, number), daemon=True).start()

    def _serve(self, peer: socket.socket, connection: int) -> None:
        try:
            with peer, peer.makefile("rb") as lines:
                while (asked := self._read(lines, connection)) and self.answer(asked, peer):
                    pass
                peer.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _read(self, lines: Any, connection: int) -> Asked | None:
        head = []
        while (line := lines.readline()) not in (b"\r\n", b""):
            head.append(line.decode().strip())
        if not head:
            return None
        sizes = [h.split(":")[1] for h in head if h.lower().startswith("content-length")]
        body = json.loads(lines.read(int(sizes[0])))
        with self._lock:
            asked = Asked(len(self.asked), "\n".join(head), body, connection)
            self.asked.append(asked)
        return asked


@pytest.fixture(scope="session")
def wire() -> SimpleNamespace:
    """The pieces answers are made of; test modules cannot import this file."""
    return SimpleNamespace(
        HEAD=HEAD,
        LAST_CHUNK=LAST_CHUNK,
        DONE=DONE,
        chunk=chunk,
        event=event,
        text=text,
        finish=finish,
        usage=usage,
        whole_answer=whole_answer,
        good=good,
    )


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    """Starts servers that are gone when the test is."""
    running: list[Server] = []

    def start(answer: Answer = good) -> Server:
        running.append(Server(answer))
        return running[-1]

    yield start
    for server in running:
        server.close()
