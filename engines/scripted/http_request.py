"""Requests cut out of the bytes of a connection: just enough of HTTP/1.1, and strict about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOST_HEAD_BYTES = 65_536
MOST_BODY_BYTES = 64 * 1024 * 1024


class BadRequestSyntax(Exception):
    """Bytes that are no request that we can read; `status` is what to answer before closing."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Header names are in lower case; the target's query is cut off."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def wants_close(self) -> bool:
        """Whether the client asked for the connection's end after the response."""
        return "close" in self.headers.get("connection", "").lower()


class RequestParser:
    """Fed with bytes, gives requests one at a time; keeps what belongs to the next."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._head: tuple[str, str, dict[str, str], int] | None = None

    def feed(self, data: bytes) -> None:
        """More bytes from the client."""
        self._bytes += data

    def take(self) -> Request | None:
        """The next whole request, None when bytes are missing; `BadRequestSyntax`."""
        if self._head is None:
            self._head = self._read_head()
        if self._head is None:
            return None
        method, path, headers, length = self._head
        if len(self._bytes) < length:
            return None
        body = bytes(self._bytes[:length])
        del self._bytes[:length]
        self._head = None
        return Request(method=method, path=path, headers=headers, body=body)

    @property
    def wants_continue(self) -> bool:
        """Whether the client waits for a "100 Continue" before it sends the body."""
        expects = self._head is not None and self._head[2].get("expect", "").lower()
        return expects == "100-continue" and not self._bytes

    def _read_head(self) -> tuple[str, str, dict[str, str], int] | None:
        end = self._bytes.find(b"\r\n\r\n")
        if end < 0 and len(self._bytes) <= MOST_HEAD_BYTES:
            return None
        if not 0 <= end <= MOST_HEAD_BYTES:
            raise BadRequestSyntax(431, f"a head of more than {MOST_HEAD_BYTES} bytes")
        first, *lines = self._bytes[:end].decode("latin-1").split("\r\n")
        del self._bytes[: end + 4]
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequestSyntax(400, f"no request line of HTTP/1.1: {first[:80]!r}")
        headers = dict(map(_header, lines))
        return words[0], words[1].partition("?")[0], headers, _length(headers)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name or name != name.strip():
        raise BadRequestSyntax(400, f"no header: {line[:80]!r}")
    return name.lower(), value.strip()


def _length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequestSyntax(411, "send the body with a content-length")
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise BadRequestSyntax(400, f"content-length {text[:40]!r}")
    if int(text) > MOST_BODY_BYTES:
        raise BadRequestSyntax(413, f"a body of more than {MOST_BODY_BYTES} bytes")
    return int(text)
