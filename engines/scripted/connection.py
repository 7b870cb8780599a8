"""One client's connection: requests in, one response at a time out."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from typing import Protocol

from quantswarm.engines.scripted.clockwork import Run
from quantswarm.engines.scripted.http_request import BadRequestSyntax, Request, RequestParser
from quantswarm.engines.scripted.script import response
from quantswarm.engines.scripted.step import END

_LINGER_OFF = struct.pack("ii", 1, 0)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Handler(Protocol):
    """What a connection needs of the application."""

    def handle(self, connection: Connection, request: Request, received_ns: int) -> None:
        """Answer by `respond`, or begin a run and tell the connection by `begin`."""

    def ended(self, run: Run, act: str | None) -> None:
        """A run is over; `act` None: the client has left."""

    def freeze(self, for_ns: int) -> None:
        """Stop the process."""

    def exit(self) -> None:
        """End the process; does not return."""


class Connection(asyncio.Protocol):
    """`data_received` stamps first: a request has arrived with its last byte."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._parser = RequestParser()
        self._run: Run | None = None
        self._received_ns = 0
        self._closing = False
        self._fd = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._fd = sock.fileno()

    def data_received(self, data: bytes) -> None:
        self._received_ns = time.perf_counter_ns()
        self._parser.feed(data)
        self._answer()

    def eof_received(self) -> bool:
        """A half-closed client still gets its answer; without one running, the connection ends."""
        self._closing = True
        return self._run is not None

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing, self._fd = True, -1
        if self._run is not None:
            run, self._run = self._run, None
            run.gone = True
            self._handler.ended(run, None)

    def begin(self, run: Run, *, close: bool) -> None:
        """A response that the clockwork sends; further requests wait until it is over."""
        self._run = run
        self._closing = self._closing or close

    def respond(self, data: bytes, *, close: bool) -> None:
        """A whole response, at once."""
        self.write(data)
        if close:
            self.close()

    def close(self) -> None:
        """End the connection once everything has been sent."""
        self._closing = True
        self._transport.close()

    def write(self, data: bytes) -> bool:
        """Straight to the socket: the transport's way costs as much again as the system call."""
        transport = self._transport
        if self._fd < 0 or transport.is_closing():
            return False
        sent = 0
        if transport.get_write_buffer_size() == 0:
            try:
                sent = os.write(self._fd, data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                transport.abort()
                return False
        if sent < len(data):
            transport.write(data[sent:])
            return False
        return True

    def finish(self, run: Run, act: str) -> None:
        """The end of a run, by its last step."""
        self._run = None
        self._handler.ended(run, act)
        if act == "exit":
            self._handler.exit()
        elif act == "reset":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
            self._transport.abort()
        elif act == "close" or (act == END and self._closing):
            self.close()
        elif act == END:
            self._answer()
        else:
            self._handler = _Deaf()

    def freeze(self, for_ns: int) -> None:
        """Passed on: it stops everybody."""
        self._handler.freeze(for_ns)

    def _answer(self) -> None:
        while self._run is None and not self._transport.is_closing():
            try:
                request = self._parser.take()
            except BadRequestSyntax as error:
                document = {"error": {"message": str(error), "type": "BadRequestError"}}
                self.respond(response(error.status, document, close=True), close=True)
                return
            if request is None:
                if self._parser.wants_continue:
                    self.write(_CONTINUE)
                return
            self._handler.handle(self, request, self._received_ns)


class _Deaf:
    """For a connection that has been given silence for good."""

    def handle(self, connection: Connection, request: Request, received_ns: int) -> None:
        """Nothing: the request stays unanswered."""

    def ended(self, run: Run, act: str | None) -> None:
        """Nothing is left to end."""

    def freeze(self, for_ns: int) -> None:
        """Never called."""

    def exit(self) -> None:
        """Never called."""
