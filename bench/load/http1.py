"""HTTP/1.1 without sockets: the bytes of a request, and a parser fed whatever `recv()` returned.

The parser gives back, for each piece fed, the body bytes that this piece carried. A caller who
keeps one stamp a piece therefore knows the stamp of every body byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

HEAD_LIMIT_BYTES = 65_536
_SIZE_LINE_LIMIT_BYTES = 256


class ProtocolError(Exception):
    """The bytes are not an HTTP/1.1 response."""


class Framing(Enum):
    """What marks the end of a body."""

    CHUNKED = "chunked"
    LENGTH = "length"
    CLOSE = "close"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Status line and headers; names in lower case, repeated ones joined by commas."""

    status: int
    headers: Mapping[str, str]
    framing: Framing
    content_length: int | None
    keeps_alive: bool
    size_bytes: int
    """From the first byte of the response, interim (1xx) answers included, to the body."""

    @property
    def content_type(self) -> str:
        """Media type alone, in lower case; empty when the server named none."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()


def request_bytes(
    target: str,
    host: str,
    body: bytes,
    *,
    keep_alive: bool,
    api_key: str | None = None,
    request_id: str | None = None,
) -> bytes:
    """A POST of JSON that asks for a stream, in one piece so that one `send` carries it all.

    `request_id` is sent as X-Request-Id, under which many servers log a request.
    """
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        "Accept: text/event-stream",
        "Accept-Encoding: identity",
        f"Content-Length: {len(body)}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
    ]
    if api_key is not None:
        lines.append(f"Authorization: Bearer {api_key}")
    if request_id is not None:
        lines.append(f"X-Request-Id: {request_id}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _status_of(line: str) -> tuple[str, int]:
    version, _, rest = line.partition(" ")
    code = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not (code.isascii() and code.isdigit()):
        raise ProtocolError(f"not a status line: {line[:80]!r}")
    return version, int(code)


def _headers_of(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise ProtocolError(f"not a header line: {line[:80]!r}")
        key = name.lower()
        known = headers.get(key)
        headers[key] = value.strip() if known is None else f"{known}, {value.strip()}"
    return headers


def _framing_of(status: int, headers: Mapping[str, str]) -> tuple[Framing, int | None]:
    if status in (204, 304):
        return Framing.EMPTY, 0
    coding = headers.get("transfer-encoding", "").lower()
    if coding:
        if coding.split(",")[-1].strip() != "chunked":
            return Framing.CLOSE, None
        return Framing.CHUNKED, None
    if "content-length" not in headers:
        return Framing.CLOSE, None
    sizes = {part.strip() for part in headers["content-length"].split(",")}
    size = sizes.pop()
    if sizes or not (size.isascii() and size.isdigit()):
        raise ProtocolError(f"bad Content-Length {headers['content-length']!r}")
    return (Framing.LENGTH, int(size)) if int(size) else (Framing.EMPTY, 0)


def parse_head(raw: bytes, size_bytes: int) -> Head:
    """Head from the bytes before the empty line; `ProtocolError` when they are something else."""
    lines = raw.decode("latin-1").split("\r\n")
    version, status = _status_of(lines[0])
    headers = _headers_of(lines[1:])
    framing, length = _framing_of(status, headers)
    said = {part.strip().lower() for part in headers.get("connection", "").split(",")}
    stays = "keep-alive" in said if version == "HTTP/1.0" else "close" not in said
    return Head(
        status=status,
        headers=headers,
        framing=framing,
        content_length=length,
        keeps_alive=stays and framing is not Framing.CLOSE,
        size_bytes=size_bytes,
    )


class ChunkDecoder:
    """Undoes chunked transfer coding; extensions and trailers are skipped."""

    def __init__(self) -> None:
        self.complete = False
        self._left = 0  # bytes of the running chunk still to come, then its CR LF
        self._rest = b""  # an unfinished size line, CR LF or trailer
        self._trailers = False

    def feed(self, data: bytes) -> bytes:
        """Body bytes carried by `data`. Bytes after the last chunk's end are ignored."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        out: list[bytes] = []
        at = 0
        while not self.complete and at < len(data):
            step = self._take(data, at, out)
            if step == 0:
                self._rest = data[at:]
                break
            at += step
        return b"".join(out)

    def _take(self, data: bytes, at: int, out: list[bytes]) -> int:
        """Consume one unit at `at`; 0 when it is not all there yet."""
        if self._left > 2:
            piece = data[at : at + self._left - 2]
            out.append(piece)
            self._left -= len(piece)
            return len(piece)
        if self._left:
            return self._take_chunk_end(data, at)
        return self._take_line(data, at)

    def _take_chunk_end(self, data: bytes, at: int) -> int:
        end = data[at : at + 2]
        if not b"\r\n".startswith(end):
            raise ProtocolError(f"chunk not ended by CR LF but {end!r}")
        if len(end) < 2:
            return 0
        self._left = 0
        return 2

    def _take_line(self, data: bytes, at: int) -> int:
        stop = data.find(b"\r\n", at)
        if stop < 0:
            if len(data) - at > _SIZE_LINE_LIMIT_BYTES:
                raise ProtocolError(f"endless chunk line {data[at : at + 40]!r}")
            return 0
        if self._trailers:
            self.complete = stop == at
        else:
            self._open_chunk(data[at:stop])
        return stop + 2 - at

    def _open_chunk(self, line: bytes) -> None:
        digits = line.split(b";")[0].strip()
        if not digits or digits.strip(b"0123456789abcdefABCDEF"):
            raise ProtocolError(f"bad chunk size {line[:40]!r}")
        size = int(digits, 16)
        self._trailers = size == 0
        self._left = size + 2 if size else 0


class ResponseParser:
    """One response, in pieces of any size.

    `head` is None until it is whole; `complete` says that the body's own framing ended it. For a
    body that only closing ends, `close()` makes it complete; for the others it changes nothing, so
    a stream cut early stays incomplete.
    """

    def __init__(self) -> None:
        self.head: Head | None = None
        self.complete = False
        self._head_bytes = b""
        self._skipped = 0
        self._left = 0
        self._chunks = ChunkDecoder()

    def feed(self, data: bytes) -> bytes:
        """Body bytes that `data` carried; raises `ProtocolError`."""
        if self.head is None:
            self._head_bytes += data
            self.head = self._seek_head()
            data, self._head_bytes = self._rest_after_head()
        return self._body(data)

    def close(self) -> None:
        """Tell that the peer closed the connection."""
        if self.head is not None and self.head.framing is Framing.CLOSE:
            self.complete = True

    def _rest_after_head(self) -> tuple[bytes, bytes]:
        """What came behind the head, and what is still to be seen as part of it."""
        return (b"", self._head_bytes) if self.head is None else (self._head_bytes, b"")

    def _seek_head(self) -> Head | None:
        while (stop := self._head_bytes.find(b"\r\n\r\n")) >= 0:
            size = self._skipped + stop + 4
            head = parse_head(self._head_bytes[:stop], size)
            self._head_bytes = self._head_bytes[stop + 4 :]
            if not 100 <= head.status < 200:
                self._left = head.content_length or 0
                self.complete = head.framing is Framing.EMPTY
                return head
            self._skipped = size
        self._refuse_nonsense()
        return None

    def _refuse_nonsense(self) -> None:
        begin = self._head_bytes[:5]
        if not b"HTTP/".startswith(begin) and begin != b"HTTP/":
            raise ProtocolError(f"not HTTP: {self._head_bytes[:40]!r}")
        if len(self._head_bytes) > HEAD_LIMIT_BYTES:
            raise ProtocolError("endless header")

    def _body(self, data: bytes) -> bytes:
        if self.head is None or self.complete:
            return b""
        if self.head.framing is Framing.CHUNKED:
            body = self._chunks.feed(data)
            self.complete = self._chunks.complete
            return body
        if self.head.framing is Framing.LENGTH:
            body = data[: self._left]
            self._left -= len(body)
            self.complete = self._left == 0
            return body
        return data
