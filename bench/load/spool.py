"""Captures on disk, whole ones only: an append-only file that a kill can cut but not spoil.

    entry = magic, three sizes, head (JSON), stamps (int64), lengths (uint32), the raw bytes

All integers are little-endian. Reading stops at the last entry that is there to its end.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from quantswarm.bench.load.capture import Capture

_MAGIC = b"QSE1"
_SIZES = struct.Struct("<4sIIQ")


def _little(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def encoded(capture: Capture) -> bytes:
    """One entry."""
    head = {
        "uid": capture.uid,
        "user": capture.user,
        "intended_ns": capture.intended_ns,
        "sent_ns": capture.sent_ns,
        "end_ns": capture.end_ns,
        "conn_reused": capture.conn_reused,
        "closed": capture.closed,
        "failure": capture.failure,
        "error": capture.error,
        "expected_prompt_tokens": capture.expected_prompt_tokens,
        "expected_output_tokens": capture.expected_output_tokens,
        "part": capture.part,
        "conversation": capture.conversation,
        "turn": capture.turn,
    }
    text = json.dumps(head).encode()
    raw = b"".join(capture.segments)
    lengths = array("I", map(len, capture.segments))
    stamps = array("q", capture.stamps)
    sizes = _SIZES.pack(_MAGIC, len(text), len(lengths), len(raw))
    arrays = _little(stamps).tobytes() + _little(lengths).tobytes()
    return b"".join((sizes, text, arrays, raw))


class SpoolWriter:
    """Appends entries; each is handed to the kernel whole before `add` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def add(self, capture: Capture) -> None:
        """Append one capture."""
        self._file.write(encoded(capture))
        self._file.flush()

    def close(self) -> None:
        """Close the file; nothing is lost without it, so a full disk is no matter here."""
        with suppress(OSError):
            self._file.close()


def captures(path: Path) -> Iterator[Capture]:
    """Every whole entry in order; a cut or foreign tail ends the reading without complaint."""
    with path.open("rb") as file:
        while (capture := _next(file)) is not None:
            yield capture


def _next(file: BinaryIO) -> Capture | None:
    start = file.read(_SIZES.size)
    if len(start) < _SIZES.size:
        return None
    magic, head_size, count, raw_size = _SIZES.unpack(start)
    if magic != _MAGIC:
        return None
    rest = head_size + count * 12 + raw_size
    body = file.read(rest)
    if len(body) < rest:
        return None
    return _decoded(body, head_size, count)


def _decoded(body: bytes, head_size: int, count: int) -> Capture:
    stamps, lengths = array("q"), array("I")
    at = head_size
    stamps.frombytes(body[at : at + count * 8])
    at += count * 8
    lengths.frombytes(body[at : at + count * 4])
    at += count * 4
    segments = []
    for length in _little(lengths):
        segments.append(body[at : at + length])
        at += length
    head = json.loads(body[:head_size])
    return Capture(**head, stamps=_little(stamps), segments=segments)
