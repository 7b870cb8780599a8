"""From raw bytes to a record: pure, done after the window, repeatable from the spool.

Which failure a request is said to have follows what a user would want to know first: an HTTP status
before anything in the body, an error event before the cut that often follows it, bytes that make no
sense before their absence, and only for a whole answer whether it was as long as asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from quantswarm.bench.load.capture import Capture
from quantswarm.bench.load.http1 import Head, ProtocolError, ResponseParser
from quantswarm.bench.load.record import OK, Record, http_failure
from quantswarm.bench.load.sse import Event, Splitter

_ERROR_CHARACTERS = 400
_TEXT_FIELDS = ("content", "reasoning_content", "reasoning", "refusal")


def decode(capture: Capture) -> Record:
    """The record of one capture; never raises for what a server sent."""
    answer = _Answer(capture)
    outcome, error = answer.outcome()
    return Record(
        id=capture.uid,
        user=capture.user,
        intended_ns=capture.intended_ns,
        sent_ns=capture.sent_ns,
        first_byte_ns=capture.stamps[0] if capture.stamps else None,
        end_ns=capture.end_ns,
        event_ns=tuple(capture.stamps[at] for at in answer.content_at),
        event_tokens=tuple(answer.content_tokens),
        events=len(answer.content_at),
        coalesced=len(answer.content_at) - len(set(answer.content_at)),
        prompt_tokens=answer.prompt_tokens(),
        output_tokens=answer.output_tokens(),
        expected_prompt_tokens=capture.expected_prompt_tokens,
        expected_output_tokens=capture.expected_output_tokens,
        finish_reason=answer.finish_reason,
        http_status=answer.head.status if answer.head else None,
        conn_reused=capture.conn_reused,
        outcome=outcome,
        error=error[:_ERROR_CHARACTERS] if error else None,
        server_timings=answer.timings or None,
        cached_tokens=answer.cached_tokens(),
        part=capture.part,
        conversation=capture.conversation,
        turn=capture.turn,
    )


def text_of(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk carries output: text, content, reasoning or a piece of a tool call."""
    return any(_choice_text(choice) for choice in _dicts(chunk.get("choices")))


def _choice_text(choice: Mapping[str, Any]) -> bool:
    if choice.get("text"):
        return True
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return False
    if any(delta.get(field) for field in _TEXT_FIELDS):
        return True
    calls = [call.get("function") for call in _dicts(delta.get("tool_calls"))]
    return any(part.get("name") or part.get("arguments") for part in _dicts(calls))


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class _Answer:
    """Everything one response said, gathered in the order in which it came."""

    def __init__(self, capture: Capture) -> None:
        self.head: Head | None = None
        self.content_at: list[int] = []  # index of the segment that completed each content event
        self.content_tokens: list[int] = []
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] = {}
        self.timings: dict[str, Any] = {}
        self._capture = capture
        self._continuous = False
        self._streamed = 0
        self._done = False
        self._whole = False
        self._events = 0
        self._nonsense: str | None = None
        self._error_event: str | None = None
        self._read(capture)

    def prompt_tokens(self) -> int | None:
        """From usage, else from llama.cpp's timings, whose prompt_n leaves out cached tokens."""
        said = _count(self.usage.get("prompt_tokens"))
        fresh = _count(self.timings.get("prompt_n"))
        if said is not None or fresh is None:
            return said
        return fresh + (_count(self.timings.get("cache_n")) or 0)

    def output_tokens(self) -> int | None:
        """The server's own count, never ours."""
        said = _count(self.usage.get("completion_tokens"))
        return said if said is not None else _count(self.timings.get("predicted_n"))

    def cached_tokens(self) -> int | None:
        """Prompt tokens that the server did not have to compute, where it tells."""
        details = self.usage.get("prompt_tokens_details")
        said = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
        return said if said is not None else _count(self.timings.get("cache_n"))

    def outcome(self) -> tuple[str, str | None]:
        """Class and explanation."""
        return self._refusal() or self._break_off() or self._length_outcome()

    def _refusal(self) -> tuple[str, str] | None:
        """The server answered, and not with the stream it was asked for."""
        head = self.head
        if head is not None and head.status != 200:
            return http_failure(head.status), self._body_said()
        if self._error_event is not None:
            return "error_event", self._error_event
        if head is not None and not self._is_stream(head):
            return "not_sse", f"{head.content_type or 'no content type'}: {self._body_said()}"
        return None

    def _break_off(self) -> tuple[str, str | None] | None:
        """The stream did not come to its proper end."""
        if self._nonsense is not None:
            return "malformed", self._nonsense
        if self._capture.failure is not None:
            return self._capture.failure, self._capture.error
        if not (self._done and self._whole):
            return "truncated", self._missing()
        return None

    def _length_outcome(self) -> tuple[str, str | None]:
        wanted = self._capture.expected_output_tokens
        said = self.output_tokens()
        got = said if said is not None else sum(self.content_tokens)
        if not self.content_at:
            return "empty", f"no output text; the server counts {said} tokens"
        if got != wanted:
            kind = "short" if got < wanted else "long"
            return kind, f"{got} tokens for {wanted}, finish_reason {self.finish_reason}"
        return OK, None

    def _is_stream(self, head: Head) -> bool:
        return head.content_type == "text/event-stream" or self._events > 0

    def _missing(self) -> str:
        if self.head is None:
            return "closed inside the response's head"
        what = "[DONE]" if not self._done else "the end of its HTTP body"
        return f"the stream ended without {what} after {len(self.content_at)} content events"

    def _body_said(self) -> str:
        parser = ResponseParser()
        try:
            body = parser.feed(b"".join(self._capture.segments))
        except ProtocolError as error:
            return str(error)
        return body[:_ERROR_CHARACTERS].decode("utf-8", "replace").strip()

    def _read(self, capture: Capture) -> None:
        parser, splitter = ResponseParser(), Splitter()
        for index, segment in enumerate(capture.segments):
            try:
                body = parser.feed(segment)
            except ProtocolError as error:
                self._nonsense = str(error)
                break
            for event in splitter.feed(body):
                self._take(event, index)
        if capture.closed:
            parser.close()
        self.head, self._whole = parser.head, parser.complete

    def _take(self, event: Event, index: int) -> None:
        data = event.data.strip()
        if data == b"[DONE]":
            self._events += 1
            self._done = True
            return
        try:
            chunk = json.loads(data)
        except ValueError:
            self._nonsense = self._nonsense or f"not JSON: {data[:120]!r}"
            return
        self._events += 1
        if not isinstance(chunk, dict):
            self._nonsense = self._nonsense or f"not an object: {data[:120]!r}"
        elif event.name == "error" or chunk.get("error") or chunk.get("object") == "error":
            self._error_event = self._error_event or data.decode("utf-8", "replace")
        else:
            self._chunk(chunk, index)

    def _chunk(self, chunk: dict[str, Any], index: int) -> None:
        usage, timings = chunk.get("usage"), chunk.get("timings")
        self.usage = usage if isinstance(usage, dict) else self.usage
        self.timings = timings if isinstance(timings, dict) else self.timings
        for choice in _dicts(chunk.get("choices")):
            reason = choice.get("finish_reason")
            self.finish_reason = reason if isinstance(reason, str) else self.finish_reason
        if text_of(chunk):
            so_far = usage.get("completion_tokens") if isinstance(usage, dict) else None
            self._content(index, _count(so_far))

    def _content(self, index: int, so_far: int | None) -> None:
        """A running count is believed only if it came with the first content already; a last event
        that has text and the final usage must not collect what earlier events left out."""
        if not self.content_at:
            self._continuous = so_far is not None
        tokens = 1
        if self._continuous and so_far is not None:
            tokens = max(1, so_far - self._streamed)
        self._streamed += tokens
        self.content_at.append(index)
        self.content_tokens.append(tokens)
