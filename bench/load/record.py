"""One request as the judge sees it: a line of `records.jsonl`, and the names of how it can end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = 1
OK = "ok"
_OPTIONAL = ("part", "conversation", "turn")
FAILURES = (
    "refused",
    "reset",
    "timeout",
    "stalled",
    "http_401",
    "http_404",
    "http_429",
    "http_4xx",
    "http_500",
    "http_503",
    "http_5xx",
    "not_sse",
    "malformed",
    "error_event",
    "truncated",
    "short",
    "long",
    "empty",
    "interrupted",
    "dropped",
)


def http_failure(status: int) -> str:
    """Class of an answer whose status is not 200; a 2xx or 3xx without a stream is not SSE."""
    name = f"http_{status}"
    if name in FAILURES:
        return name
    if status >= 500:
        return "http_5xx"
    return "http_4xx" if status >= 400 else "not_sse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request. Stamps are `perf_counter_ns`; content events are those with non-empty text.

    `event_tokens[i]` is 1 unless the server said otherwise as it streamed, so its sum may differ
    from `output_tokens`, the server's own final count. `sent_ns` is None for a request that
    found no connection, or was "dropped": too many were in flight. In an open loop each arrival
    is a user of its own, `user` its number in the schedule. `coalesced` counts content events that
    came in the same `recv()` as an earlier one and so share its stamp. `part` is the component of a
    mix that a request was drawn from, `conversation` the id of a conversation's first request and
    `turn` its place in it, from 1; a line holds them only where they mean something.
    """

    id: str
    user: int
    intended_ns: int
    sent_ns: int | None
    first_byte_ns: int | None
    end_ns: int
    event_ns: tuple[int, ...]
    event_tokens: tuple[int, ...]
    events: int
    coalesced: int
    prompt_tokens: int | None
    output_tokens: int | None
    expected_prompt_tokens: int | None
    expected_output_tokens: int
    finish_reason: str | None
    http_status: int | None
    conn_reused: bool
    outcome: str
    error: str | None
    server_timings: Mapping[str, Any] | None
    cached_tokens: int | None
    part: str | None = None
    conversation: str | None = None
    turn: int | None = None

    def line(self) -> str:
        """Its line in `records.jsonl`, without the line's end."""
        document = {"schema": SCHEMA, **asdict(self)}
        for key in _OPTIONAL:
            if document[key] is None:
                del document[key]
        return json.dumps(document, separators=(",", ":"))
