"""Reading `records.jsonl`: strict, because a number made from a misread record is worse than none.

One thing is forgiven: the last line may be cut off, as a killed writer leaves it; it is counted.
Keys that this version does not know are ignored, so that later recorders can add to the schema.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.models.errors import BadFile

SCHEMA = 1
OK = "ok"
INTERRUPTED = "interrupted"

_WHOLE = ("user", "intended_ns", "end_ns", "coalesced")
_WHOLE_OR_NULL = (
    "sent_ns",
    "first_byte_ns",
    "prompt_tokens",
    "output_tokens",
    "expected_prompt_tokens",
    "expected_output_tokens",
    "http_status",
    "cached_tokens",
)
_TEXT_OR_NULL = ("finish_reason", "error")
_TEXT_OR_ABSENT = ("part", "conversation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request as the client saw it; stamps are CLOCK_MONOTONIC nanoseconds of one host.

    `event_ns[i]` is when the i-th event with text arrived, `event_tokens[i]` how many tokens it
    held. `sent_ns` is None when no connection was made. `output_tokens` is the server's own count.
    `part`, `conversation` and `turn` are None where the scenario has no such thing.
    """

    id: str
    user: int
    intended_ns: int
    sent_ns: int | None
    first_byte_ns: int | None
    end_ns: int
    event_ns: tuple[int, ...]
    event_tokens: tuple[int, ...]
    coalesced: int
    prompt_tokens: int | None
    output_tokens: int | None
    expected_prompt_tokens: int | None
    expected_output_tokens: int | None
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

    @property
    def ok(self) -> bool:
        """Whether the answer was whole; only such requests have latencies."""
        return self.outcome == OK

    @property
    def counted_tokens(self) -> int:
        """Tokens by the client's own count of events, not by the server's usage."""
        return sum(self.event_tokens)

    @property
    def follows(self) -> bool:
        """Whether it is a later turn of a conversation: its start hung on an answer, in an open
        loop too."""
        return self.turn is not None and self.turn > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsFile:
    """What a records file held; `truncated` is 1 when its last line was cut off, else 0."""

    records: tuple[Record, ...]
    truncated: int


class _Malformed(Exception):
    """A line that is JSON, and no record; becomes a BadFile with the line's number."""


def read_records(path: Path) -> RecordsFile:
    """Read and check every line; raises BadFile with the line number at the first bad one."""
    records: list[Record] = []
    seen: set[str] = set()
    truncated = 0
    for number, line in _lines(path):
        try:
            record = _record(line, seen)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            if not line.endswith(b"\n"):
                truncated = 1
                break
            raise _bad(path, number, f"not JSON ({error})") from error
        except _Malformed as error:
            raise _bad(path, number, str(error)) from error
        seen.add(record.id)
        records.append(record)
    return RecordsFile(records=tuple(records), truncated=truncated)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from enumerate(file, start=1)
    except OSError as error:
        raise BadFile(
            f"records {path.name}",
            f"cannot be read: {error.strerror}",
            evidence=f"Looked in {path.parent}.",
            next_step="measure the cell again (quantswarm bench --resume)",
        ) from error


def _bad(path: Path, number: int, found: str) -> BadFile:
    return BadFile(
        f"{path.name}, line {number}",
        found,
        evidence=f"File: {path}. Only the last line may be incomplete.",
        next_step="measure the cell again (quantswarm bench --resume), or restore the file",
    )


def _record(line: bytes, seen: Collection[str] = ()) -> Record:
    raw = json.loads(line.decode("utf-8"))
    if not isinstance(raw, dict):
        raise _Malformed(f"a JSON object is needed, not {type(raw).__name__}")
    if raw.get("schema") != SCHEMA:
        raise _Malformed(f"schema {raw.get('schema')!r}; this version reads schema {SCHEMA}")
    record = Record(
        id=_text(raw, "id"),
        outcome=_text(raw, "outcome"),
        conn_reused=_flag(raw, "conn_reused"),
        event_ns=_series(raw, "event_ns"),
        event_tokens=_series(raw, "event_tokens"),
        server_timings=_mapping(raw, "server_timings"),
        **{key: _whole(raw, key) for key in _WHOLE},
        **{key: _whole(raw, key, nullable=True) for key in _WHOLE_OR_NULL},
        **{key: _text_or_null(raw, key) for key in _TEXT_OR_NULL},
        **{key: _text_or_null(raw, key) for key in _TEXT_OR_ABSENT if key in raw},
        turn=_whole(raw, "turn", nullable=True) if "turn" in raw else None,
    )
    if record.id in seen:
        raise _Malformed(f"id {record.id!r} appears twice")
    _check_sense(record, events=_whole(raw, "events"))
    return record


def _check_sense(record: Record, *, events: int) -> None:
    stamps = record.event_ns
    if not len(stamps) == len(record.event_tokens) == events:
        raise _Malformed(
            f"events {events}, event_ns {len(stamps)} and event_tokens "
            f"{len(record.event_tokens)} must be one number"
        )
    if any(later < earlier for earlier, later in itertools.pairwise(stamps)):
        raise _Malformed("event_ns goes back in time")
    if stamps and (record.sent_ns is None or stamps[0] < record.sent_ns):
        raise _Malformed("an event is stamped before the request was sent")
    if record.end_ns < record.intended_ns:
        raise _Malformed("end_ns lies before intended_ns")


def _value(raw: Mapping[str, Any], key: str) -> Any:
    if key not in raw:
        raise _Malformed(f"key {key!r} is missing")
    return raw[key]


def _whole(raw: Mapping[str, Any], key: str, *, nullable: bool = False) -> Any:
    """An integer, no bool, not negative; typed Any, as the caller knows whether None may be."""
    value = _value(raw, key)
    if value is None and nullable:
        return None
    if type(value) is not int or value < 0:
        raise _Malformed(f"{key} must be a whole number, not {value!r}")
    return value


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = _value(raw, key)
    if not isinstance(value, str) or not value:
        raise _Malformed(f"{key} must be a text, not {value!r}")
    return value


def _text_or_null(raw: Mapping[str, Any], key: str) -> Any:
    value = _value(raw, key)
    if value is not None and not isinstance(value, str):
        raise _Malformed(f"{key} must be a text or null, not {value!r}")
    return value


def _flag(raw: Mapping[str, Any], key: str) -> bool:
    value = _value(raw, key)
    if not isinstance(value, bool):
        raise _Malformed(f"{key} must be true or false, not {value!r}")
    return value


def _series(raw: Mapping[str, Any], key: str) -> tuple[int, ...]:
    values: Iterable[Any] = _value(raw, key)
    if not isinstance(values, list) or any(type(v) is not int or v < 0 for v in values):
        raise _Malformed(f"{key} must be a list of whole numbers")
    return tuple(values)


def _mapping(raw: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    value = _value(raw, key)
    if value is not None and not isinstance(value, dict):
        raise _Malformed(f"{key} must be an object or null, not {value!r}")
    return value
