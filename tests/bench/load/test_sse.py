from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.load.sse import Event, Splitter

LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
ENDS = st.sampled_from(["\n", "\r", "\r\n"])


def split(pieces: list[bytes]) -> list[Event]:
    splitter = Splitter()
    return [event for piece in pieces for event in splitter.feed(piece)]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream with comments, ids and mixed line ends, and the data of its events."""
    raw, expected = "", []
    for lines in draw(st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=5)):
        end = draw(ENDS)
        raw += draw(st.sampled_from(["", f": note{end}", f"id: 7{end}", f"retry{end}"]))
        raw += "".join(f"data: {line}{end}" for line in lines) + end
        expected.append("\n".join(lines).encode())
    return raw.encode(), expected


@given(streams(), st.lists(st.integers(0, 2000), max_size=40))
def test_any_cut_gives_the_same_events(
    stream: tuple[bytes, list[bytes]], places: list[int]
) -> None:
    raw, expected = stream
    edges = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    pieces = [raw[a:b] for a, b in itertools.pairwise(edges)]
    assert [event.data for event in split(pieces)] == expected


@given(streams())
def test_one_byte_at_a_time_gives_the_same_events(stream: tuple[bytes, list[bytes]]) -> None:
    raw, expected = stream
    assert [event.data for event in split([bytes([byte]) for byte in raw])] == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"data:x\n\n", [b"x"]),
        (b"data:  x\n\n", [b" x"]),
        (b"data\n\n", [b""]),
        (b": only a comment\n\n", []),
        (b"\xef\xbb\xbfdata: bom\n\n", [b"bom"]),
        (b"event: error\ndata: e\n\n", [b"e"]),
        (b"data: unfinished\n", []),
        (b"\n\n\ndata: after empty lines\n\n", [b"after empty lines"]),
    ],
)
def test_format(raw: bytes, expected: list[bytes]) -> None:
    assert [event.data for event in split([raw])] == expected


def test_event_names_belong_to_one_event_only() -> None:
    events = split([b"event: error\ndata: 1\n\ndata: 2\n\n"])
    assert [event.name for event in events] == ["error", ""]


def test_an_event_comes_with_the_piece_that_ends_it() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: \xe2\x82") == []
    assert splitter.feed(b"\xac\r\n\r") == [Event(data="€".encode())]
    assert splitter.feed(b"\ndata: b\n\n") == [Event(data=b"b")]
    assert not splitter.pending
