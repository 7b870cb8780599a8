from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.load.capture import Capture
from quantswarm.bench.load.decode import decode
from quantswarm.bench.load.record import FAILURES, Record

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"data: [DONE]\n\n"


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def event(document: object) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def text(word: str, reason: str | None = None, **more: Any) -> bytes:
    return event({"choices": [{"text": word, "finish_reason": reason}], **more})


def delta(fields: dict[str, Any], **more: Any) -> bytes:
    return event({"choices": [{"delta": fields, "finish_reason": None}], **more})


def usage(completion: int, prompt: int = 9) -> dict[str, int]:
    return {"completion_tokens": completion, "prompt_tokens": prompt}


def capture(segments: list[bytes], *, wanted: int, **more: Any) -> Capture:
    fields: dict[str, Any] = {
        "uid": "u",
        "user": 0,
        "intended_ns": 5,
        "sent_ns": 7,
        "end_ns": 10_000,
        "conn_reused": False,
        "closed": False,
        "failure": None,
        "error": None,
        "expected_prompt_tokens": 9,
        "expected_output_tokens": wanted,
        "stamps": [100 * (n + 1) for n in range(len(segments))],
        "segments": segments,
    }
    return Capture(**{**fields, **more})


def streamed(
    events: list[bytes], *, wanted: int, last: bytes = b"0\r\n\r\n", **more: Any
) -> Record:
    """Decode a stream with the head and each event in a segment of its own."""
    segments = [HEAD, *(chunk(item) for item in events), *([last] if last else [])]
    return decode(capture(segments, wanted=wanted, **more))


def plain(count: int) -> list[bytes]:
    return [text(f" w{n}") for n in range(count)]


def closing(count: int, reason: str = "length") -> list[bytes]:
    return [text("", reason), event({"choices": [], "usage": usage(count)}), END]


def test_a_good_stream() -> None:
    record = streamed([*plain(3), *closing(3)], wanted=3)
    assert record.outcome == "ok"
    assert record.event_ns == (200, 300, 400)
    assert record.event_tokens == (1, 1, 1)
    assert (record.events, record.coalesced) == (3, 0)
    assert (record.prompt_tokens, record.output_tokens) == (9, 3)
    assert (record.first_byte_ns, record.finish_reason, record.http_status) == (100, "length", 200)


def test_a_role_chunk_is_not_the_first_token() -> None:
    role = delta({"role": "assistant", "content": ""})
    record = streamed(
        [role, delta({"content": "a"}), delta({"content": "b"}), *closing(2)], wanted=2
    )
    assert record.first_byte_ns == 100
    assert record.event_ns == (300, 400)


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"name": "look", "arguments": ""}}]},
    ],
)
def test_reasoning_and_tool_calls_are_output(fields: dict[str, Any]) -> None:
    assert streamed([delta(fields), *closing(1)], wanted=1).events == 1


@pytest.mark.parametrize(
    "fields", [{}, {"content": None}, {"tool_calls": []}, {"tool_calls": [{"index": 0}]}]
)
def test_empty_deltas_are_not(fields: dict[str, Any]) -> None:
    record = streamed([delta(fields), delta({"content": "x"}), *closing(1)], wanted=1)
    assert record.event_ns == (300,)


def test_several_tokens_an_event_by_continuous_usage() -> None:
    counts = [2, 2, 5]  # the second event has no new text
    words = ["ab", "", "cde"]
    events = [text(w, usage=usage(c)) for w, c in zip(words, counts, strict=True)]
    record = streamed([*events, *closing(5)], wanted=5)
    assert record.event_tokens == (2, 3)
    assert record.outcome == "ok"


def test_a_final_usage_does_not_collect_what_events_left_out() -> None:
    """llama-server: text, finish_reason, usage and timings in one last event."""
    timings = {"cache_n": 3, "prompt_n": 6, "predicted_n": 5, "predicted_ms": 1.5}
    last = text(" end", "length", usage=usage(5), timings=timings)
    record = streamed([*plain(3), last, END], wanted=5)
    assert record.event_tokens == (1, 1, 1, 1)
    assert record.output_tokens == 5  # the difference is there to be reported, not mended
    assert record.outcome == "ok"
    assert (record.finish_reason, record.cached_tokens) == ("length", 3)
    assert record.server_timings == timings


def test_timings_alone_count_tokens_cached_ones_included() -> None:
    timings = {"cache_n": 3, "prompt_n": 6, "predicted_n": 2}
    record = streamed([*plain(1), text("x", "length", timings=timings), END], wanted=2)
    assert (record.prompt_tokens, record.output_tokens, record.outcome) == (9, 2, "ok")


def test_cached_tokens_from_usage() -> None:
    told = {**usage(1), "prompt_tokens_details": {"cached_tokens": 4}}
    record = streamed([*plain(1), event({"choices": [], "usage": told}), END], wanted=1)
    assert record.cached_tokens == 4


def test_usage_after_the_last_choice_is_no_token() -> None:
    record = streamed([*plain(2), *closing(2)], wanted=2)
    assert record.event_ns[-1] == 300


def test_no_usage_falls_back_on_events() -> None:
    assert streamed([*plain(2), END], wanted=2).outcome == "ok"
    record = streamed([*plain(2), END], wanted=3)
    assert (record.outcome, record.output_tokens) == ("short", None)


def test_coalesced_events_share_a_stamp_and_are_counted() -> None:
    glued = b"".join(map(chunk, plain(3)))
    rest = b"".join(map(chunk, closing(3))) + b"0\r\n\r\n"
    record = decode(capture([HEAD, glued, rest], wanted=3))
    assert record.event_ns == (200, 200, 200)
    assert record.coalesced == 2


ERROR = event({"error": {"message": "out of memory", "code": 500}})
REPLY = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
BODY = [*plain(2), *closing(2)]


@pytest.mark.parametrize(
    ("expected", "record"),
    [
        ("error_event", streamed([*plain(1), ERROR], wanted=2, closed=True, last=b"")),
        ("error_event", streamed([*plain(1), ERROR, END], wanted=2)),
        ("error_event", streamed([b'event: error\ndata: {"m": 1}\n\n', END], wanted=2)),
        ("truncated", streamed(plain(2), wanted=2, closed=True, last=b"")),
        ("truncated", streamed(BODY[:-1], wanted=2)),
        ("truncated", streamed(BODY, wanted=2, closed=True, last=b"")),
        ("truncated", decode(capture([HEAD[:30]], wanted=2, closed=True))),
        ("short", streamed([*plain(1), *closing(1)], wanted=2)),
        ("short", streamed([*plain(1), *closing(1, "stop")], wanted=2)),
        ("long", streamed([*plain(3), *closing(3)], wanted=2)),
        ("empty", streamed(closing(0), wanted=2)),
        ("empty", streamed([END], wanted=2)),
        ("malformed", streamed([*plain(1), b"data: {oops\n\n", END], wanted=2)),
        ("malformed", streamed([*plain(1), b"data: [1]\n\n", END], wanted=2)),
        ("malformed", decode(capture([b"SSH-2.0-x\r\n"], wanted=2))),
        ("malformed", decode(capture([HEAD, b"zz\r\n"], wanted=2))),
        ("not_sse", decode(capture([PAGE], wanted=2))),
        ("http_401", decode(capture([REPLY % 401], wanted=2))),
        ("http_404", decode(capture([REPLY % 404], wanted=2))),
        ("http_429", decode(capture([REPLY % 429], wanted=2))),
        ("http_4xx", decode(capture([REPLY % 418], wanted=2))),
        ("http_500", decode(capture([REPLY % 500], wanted=2))),
        ("http_503", decode(capture([REPLY % 503], wanted=2, failure="reset"))),
        ("http_5xx", decode(capture([REPLY % 502], wanted=2))),
        ("not_sse", decode(capture([REPLY % 302], wanted=2))),
        ("refused", decode(capture([], wanted=2, failure="refused", sent_ns=None))),
        ("timeout", decode(capture([], wanted=2, failure="timeout"))),
        ("stalled", streamed(plain(1), wanted=2, last=b"", failure="stalled")),
        ("reset", streamed(plain(1), wanted=2, last=b"", failure="reset")),
        ("interrupted", streamed(plain(1), wanted=2, last=b"", failure="interrupted")),
    ],
)
def test_every_failure_has_its_own_class(expected: str, record: Record) -> None:
    assert record.outcome == expected
    assert record.outcome in FAILURES


def test_a_stream_labelled_otherwise_is_still_a_stream() -> None:
    head = HEAD.replace(b"text/event-stream", b"text/plain")
    whole = head + b"".join(map(chunk, [*plain(1), *closing(1)])) + b"0\r\n\r\n"
    assert decode(capture([whole], wanted=1)).outcome == "ok"


def test_the_explanation_quotes_the_server() -> None:
    record = streamed([ERROR, END], wanted=2)
    assert record.error is not None
    assert "out of memory" in record.error


@given(st.lists(st.integers(0, 5000), max_size=40))
def test_cuts_change_stamps_but_neither_tokens_nor_outcome(places: list[int]) -> None:
    words = [text("é€"), text("\u2028x"), *closing(2)]
    raw = HEAD + b"".join(map(chunk, words)) + b"0\r\n\r\n"
    edges = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    record = decode(capture([raw[a:b] for a, b in itertools.pairwise(edges)], wanted=2))
    assert (record.outcome, record.events, record.output_tokens) == ("ok", 2, 2)


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=5), st.booleans())
def test_no_bytes_make_it_raise(segments: list[bytes], closed: bool) -> None:
    for start in ([], [HEAD], [HEAD[:60]]):
        record = decode(capture([*start, *segments], wanted=2, closed=closed))
        assert json.loads(record.line())["outcome"] in FAILURES


@given(st.recursive(st.none() | st.integers() | st.text(max_size=4), st.lists, max_leaves=4))
def test_odd_json_is_never_a_success(value: Any) -> None:
    for key in ("choices", "usage", "timings"):
        assert streamed([event({key: value}), END], wanted=2).outcome != "ok"
    nested = event(
        {"choices": [{"delta": value, "text": None}], "usage": {"completion_tokens": value}}
    )
    assert streamed([nested, END], wanted=2).outcome != "ok"
