"""The live part of one request: send, stamp and keep what comes, notice the end. Nothing is parsed.

Sockets are the standard library's; in the swarm's process Locust has replaced those by cooperative
ones, and this module cannot tell. Who reads is the caller's choice (`Pour`): the loop itself there.
The hot path is `Inbox.take`: two appends and one comparison.
"""

from __future__ import annotations

import socket
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

from quantswarm.bench.load.http1 import Framing, ProtocolError, ResponseParser
from quantswarm.bench.load.link import Link
from quantswarm.bench.load.warden import Warden

RECV_BYTES = 65_536
Take = Callable[[bytes, int], bool]
"""Gets a segment and its stamp; True once nothing more is wanted."""
Pour = Callable[[socket.socket, Take], bool]
"""Gives a socket's segments to a `Take`. True when it wanted no more, False at the peer's end;
raises `OSError`."""
_LAST_CHUNK = b"0\r\n\r\n"
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long each part of a request may take; `stall_s` is between two arrivals of bytes."""

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    stall_s: float = 60.0
    total_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request to make. `payload` is everything that goes over the wire.

    `part` names the component of a mix; `conversation` is the uid of its first turn, and `turn`
    counts from 1. Each is None where there is none.
    """

    uid: str
    user: int
    intended_ns: int
    payload: bytes
    expected_prompt_tokens: int | None
    expected_output_tokens: int
    part: str | None = None
    conversation: str | None = None
    turn: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """All that was seen of one request: `stamps[i]` is when `segments[i]` left `recv()`.

    `sent_ns` is the instant before the bytes went to the socket, None for a request that found no
    connection. `closed` tells that the peer ended the stream.
    `failure` is what the transport knows; what the bytes say is for `decode` to find.
    """

    uid: str
    user: int
    intended_ns: int
    sent_ns: int | None
    end_ns: int
    conn_reused: bool
    closed: bool
    failure: str | None
    error: str | None
    expected_prompt_tokens: int | None
    expected_output_tokens: int
    stamps: Sequence[int]
    segments: Sequence[bytes]
    part: str | None = None
    conversation: str | None = None
    turn: int | None = None


class Inbox:
    """Segments as they came. `take` answers True once the response is known to be whole."""

    __slots__ = ("_framing", "_wanted", "keeps_alive", "segments", "stamps")

    def __init__(self) -> None:
        self.stamps = array("q")
        self.segments: list[bytes] = []
        self.keeps_alive = False
        self._framing: Framing | None = None
        self._wanted = 0

    def take(self, data: bytes, now_ns: int) -> bool:
        """Keep one non-empty segment; the look at its end is cheap, the proof comes only then."""
        self.stamps.append(now_ns)
        self.segments.append(data)
        if self._framing is Framing.CHUNKED:
            if data.endswith(_LAST_CHUNK) or (len(data) < len(_LAST_CHUNK) and self._tail_ends()):
                return self._whole()
            return False
        return self._otherwise()

    def _tail_ends(self) -> bool:
        return b"".join(self.segments[-len(_LAST_CHUNK) :]).endswith(_LAST_CHUNK)

    def _otherwise(self) -> bool:
        """Before the head is whole, and for bodies that are not chunked."""
        if self._framing is None:
            return self._whole()
        if self._framing is Framing.LENGTH:
            return sum(map(len, self.segments)) >= self._wanted
        return False

    def _whole(self) -> bool:
        """Ask the real parser; bytes that are not HTTP count as an end, nothing else can follow."""
        parser = ResponseParser()
        try:
            parser.feed(b"".join(self.segments))
        except ProtocolError:
            return True
        if parser.head is not None:
            self._framing = parser.head.framing
            self._wanted = parser.head.size_bytes + (parser.head.content_length or 0)
            self.keeps_alive = parser.head.keeps_alive and parser.complete
        return parser.complete


def by_recv(source: socket.socket, take: Take) -> bool:
    """A `Pour` for any socket: whoever calls it is woken for every segment."""
    recv, clock = source.recv, perf_counter_ns
    while data := recv(RECV_BYTES):
        if take(data, clock()):
            return True
    return False


class Exchange:
    """One request made over a user's link. `run` returns when it is over, however it ended.

    Only cancelling (an exception that is no `OSError`, thrown into the waiting call) passes through
    `run`; even then `capture` tells what was seen, as "interrupted". Of the limits, all but that of
    connecting are kept by the warden, to a tenth of a second.
    """

    def __init__(
        self, order: Order, link: Link, limits: Limits, warden: Warden, pour: Pour = by_recv
    ) -> None:
        self._order = order
        self._link = link
        self._limits = limits
        self._warden = warden
        self._pour = pour
        self._inbox = Inbox()
        self._sent_ns: int | None = None
        self._end_ns = 0
        self._reused = False
        self._closed = False
        self._expired = False
        self._phase = "connect"
        self._failure: str | None = None
        self._error: str | None = None

    def run(self) -> None:
        """Connect if needed, send, receive to the end."""
        whole = False
        try:
            whole = self._talk()
        except OSError as error:
            self._failed(error)
        except BaseException as error:
            self._failure, self._error = "interrupted", _said(error)
            raise
        finally:
            self._warden.forget(self)
            self._end_ns = perf_counter_ns()
            self._link.done(reusable=whole and self._inbox.keeps_alive)

    def expire(self, now_ns: int) -> None:
        """Hang up if the answer, or its next bytes, are overdue; the waiting read then ends."""
        stamps, sent_ns = self._inbox.stamps, self._sent_ns
        if self._expired or sent_ns is None:
            return
        patience_s = self._limits.stall_s if stamps else self._limits.first_byte_s
        next_ns = (stamps[-1] if stamps else sent_ns) + int(patience_s * _NS)
        last_ns = sent_ns + int(self._limits.total_s * _NS)
        if now_ns >= min(next_ns, last_ns):
            self._phase = "total" if last_ns <= next_ns else "stall" if stamps else "first byte"
            self._expired = True
            self._link.hang_up()

    def capture(self) -> Capture:
        """What was seen; meaningful once `run` has ended."""
        order, inbox = self._order, self._inbox
        return Capture(
            uid=order.uid,
            user=order.user,
            intended_ns=order.intended_ns,
            sent_ns=self._sent_ns,
            end_ns=self._end_ns,
            conn_reused=self._reused,
            closed=self._closed,
            failure=self._failure,
            error=self._error,
            expected_prompt_tokens=order.expected_prompt_tokens,
            expected_output_tokens=order.expected_output_tokens,
            stamps=inbox.stamps,
            segments=inbox.segments,
            part=order.part,
            conversation=order.conversation,
            turn=order.turn,
        )

    def _talk(self) -> bool:
        link, self._reused = self._link.open(self._limits.connect_s)
        self._phase = "stream"
        link.settimeout(None)
        self._sent_ns = perf_counter_ns()
        self._warden.watch(self)
        link.sendall(self._order.payload)
        return self._receive(link)

    def _receive(self, link: socket.socket) -> bool:
        if self._pour(link, self._inbox.take):
            return True
        if self._expired:
            raise TimeoutError("nothing more within the limit")
        self._ended_by_peer()
        return False

    def _ended_by_peer(self) -> None:
        self._closed = True
        if not self._inbox.segments:
            self._failure, self._error = "reset", "closed without an answer"

    def _failed(self, error: OSError) -> None:
        """Whatever a hung-up socket says, the limit is what ended it."""
        late = self._expired or isinstance(error, TimeoutError)
        self._error = f"{_said(error)} (limit: {self._phase})" if late else _said(error)
        if late:
            self._failure = "stalled" if self._phase == "stall" else "timeout"
        else:
            self._failure = "refused" if self._phase == "connect" else "reset"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
