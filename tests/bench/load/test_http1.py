from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.load.http1 import Framing, ProtocolError, ResponseParser, request_bytes

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def fed(pieces: list[bytes]) -> tuple[list[bytes], ResponseParser]:
    parser = ResponseParser()
    return [parser.feed(piece) for piece in pieces], parser


def chunked(parts: list[bytes], trailer: bytes = b"") -> bytes:
    body = b"".join(b"%X;ext=1\r\n%s\r\n" % (len(part), part) for part in parts if part)
    return CHUNKED + body + b"0\r\n" + trailer + b"\r\n"


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 10_000), max_size=30))
def test_chunked_body_survives_any_cut(parts: list[bytes], places: list[int]) -> None:
    raw = chunked(parts)
    bodies, parser = fed(cut(raw, places))
    assert b"".join(bodies) == b"".join(parts)
    assert parser.complete


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_one_byte_at_a_time_gives_each_byte_with_its_segment(parts: list[bytes]) -> None:
    raw = chunked(parts, trailer=b"X-Sum: 1\r\n")
    bodies, parser = fed([raw[i : i + 1] for i in range(len(raw))])
    assert parser.complete
    assert all(len(body) <= 1 for body in bodies)
    at = {index: body for index, body in enumerate(bodies) if body}
    assert all(raw[index : index + 1] == body for index, body in at.items())
    assert b"".join(at.values()) == b"".join(parts)


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5), st.data())
def test_a_chunked_body_cut_short_is_never_complete(
    parts: list[bytes], data: st.DataObject
) -> None:
    raw = chunked(parts)
    keep = data.draw(st.integers(0, len(raw) - 1))
    _, parser = fed([raw[:keep]])
    parser.close()
    assert not parser.complete


def test_content_length_ends_the_body_and_ignores_what_follows() -> None:
    bodies, parser = fed([b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nab", b"cdEXTRA"])
    assert bodies == [b"ab", b"cd"]
    assert parser.complete
    assert parser.head is not None
    assert parser.head.status == 404


def test_close_delimited_body_is_complete_only_when_closed() -> None:
    _, still_open = fed([b"HTTP/1.0 200 OK\r\n\r\nabc"])
    _, parser = fed([b"HTTP/1.0 200 OK\r\n\r\nabc"])
    parser.close()
    assert (still_open.complete, parser.complete) == (False, True)
    assert parser.head is not None
    assert not parser.head.keeps_alive


def test_a_cut_head_is_not_complete_when_closed() -> None:
    _, parser = fed([b"HTTP/1.1 200 OK\r\nContent-Ty"])
    parser.close()
    assert parser.head is None
    assert not parser.complete


def test_interim_answers_are_skipped_and_counted_into_the_head() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    bodies, parser = fed([interim + final + b"ok"])
    assert bodies == [b"ok"]
    assert parser.head is not None
    assert parser.head.size_bytes == len(interim + final)


@pytest.mark.parametrize(
    ("head", "framing", "alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Framing.LENGTH, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Framing.EMPTY, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Framing.EMPTY, True),
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n",
            Framing.LENGTH,
            False,
        ),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", Framing.CHUNKED, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", Framing.CLOSE, False),
    ],
)
def test_framing(head: bytes, framing: Framing, alive: bool) -> None:
    _, parser = fed([head])
    assert parser.head is not None
    assert (parser.head.framing, parser.head.keeps_alive) == (framing, alive)


@pytest.mark.parametrize(
    "raw",
    [
        b"<html>",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 two OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
        CHUNKED + b"xyz\r\n",
        CHUNKED + b"1\r\nab\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"1" * 300,
        b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000,
    ],
)
def test_nonsense_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        fed([raw])


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_raise_protocol_error(raw: bytes) -> None:
    for start in (b"", CHUNKED, b"HTTP/1.1 "):
        try:
            fed([start + raw])
        except ProtocolError:
            continue


def test_request_carries_what_measuring_needs() -> None:
    raw = request_bytes("/v1/completions", "h:1", b"{}", keep_alive=False, api_key="k")
    head, body = raw.split(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/completions HTTP/1.1"
    assert body == b"{}"
    for line in ("Host: h:1", "Accept-Encoding: identity", "Connection: close"):
        assert line in lines
    assert "Authorization: Bearer k" in lines
    assert "Content-Length: 2" in lines
    assert not any(line.startswith("X-Request-Id") for line in lines)


def test_a_request_can_carry_its_id() -> None:
    raw = request_bytes("/v1/completions", "h:1", b"{}", keep_alive=True, request_id="4f2a")
    head, body = raw.split(b"\r\n\r\n")
    assert "X-Request-Id: 4f2a" in head.decode().split("\r\n")
    assert body == b"{}"
