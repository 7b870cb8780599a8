"""Data sets of prompts: ShareGPT's JSON and plain JSON lines, read strictly.

Which of the two a file is shows in its first character: a list is ShareGPT's. Only what the user
says is sent; the answers of the data set serve as lengths, the server gives its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.models.errors import BadFile

_USER, _ANSWER, _SYSTEM = "user", "assistant", "system"
_ROLES = {
    **dict.fromkeys(("human", "user"), _USER),
    **dict.fromkeys(("gpt", "chatgpt", "assistant", "bing", "bard"), _ANSWER),
    "system": _SYSTEM,
}
_LINE_KEYS = ("id", "prompt", "messages", "output_tokens")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One conversation: what the user says, turn by turn, and the answer that is in the data set,
    None where it has none. `output_tokens` is the length that a line asks for."""

    line: int
    asks: tuple[str, ...]
    answers: tuple[str | None, ...]
    output_tokens: int | None = None


class _Odd(Exception):
    """An entry that is not of the format; becomes a BadFile with its line."""


def read_dataset(path: Path) -> tuple[Entry, ...]:
    """Every entry in which the user says something; `BadFile` names the line of the first that is
    not as it should be."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadFile(
            f"data set {path}", f"cannot be read: {error.strerror}", next_step="check the path"
        ) from None
    except UnicodeDecodeError as error:
        raise BadFile(f"data set {path}", f"not UTF-8: {error}", next_step="convert it") from None
    read, lines = (_shared, _listed) if text.lstrip()[:1] == "[" else (_plain, _separate)
    entries = []
    for line, found in lines(text, path):
        try:
            entry = read(line, found)
        except _Odd as error:
            raise _wrong(path, line, str(error)) from None
        if entry.asks:
            entries.append(entry)
    if not entries:
        raise BadFile(f"data set {path}", "it holds no prompt", next_step="check the file")
    return tuple(entries)


def _wrong(path: Path, line: int, found: str) -> BadFile:
    return BadFile(
        f"data set {path.name}, line {line}",
        found,
        evidence='ShareGPT: [{"conversations": [{"from": "human", "value": "…"}, …]}, …]; or one '
        'JSON object a line: {"prompt": "…", "output_tokens": 64}, or "messages" for "prompt".',
        next_step=f"mend {path}",
    )


def _separate(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """(line, value) of JSON lines; empty lines are passed over."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise _wrong(path, number, f"not JSON: {error}") from None


def _listed(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """(line, value) of one JSON list, taken apart by hand, as only so the lines are known."""
    at, line, counted = text.index("[") + 1, 1, 0
    while True:
        at = _past_space(text, at)
        line, counted = line + text.count("\n", counted, at), at
        if text[at : at + 1] == "]":
            break
        try:
            value, at = _DECODER.raw_decode(text, at)
        except ValueError as error:
            raise _wrong(path, line, f"not JSON: {error}") from None
        yield line, value
        at = _past_space(text, at)
        if text[at : at + 1] == ",":
            at += 1
        elif text[at : at + 1] != "]":
            raise _wrong(path, line, "the list is not closed after this entry")
    if text[at + 1 :].strip():
        raise _wrong(path, line, "something stands behind the list's end")


def _past_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _shared(line: int, found: Any) -> Entry:
    """ShareGPT's form; other keys than `conversations` are no business of ours."""
    if not isinstance(found, Mapping) or not isinstance(found.get("conversations"), list):
        raise _Odd("an object with a list 'conversations' is needed")
    said = [_said(message, "from", "value") for message in found["conversations"]]
    asks, answers = _turns(said)
    return Entry(line=line, asks=asks, answers=answers)


def _plain(line: int, found: Any) -> Entry:
    if not isinstance(found, Mapping):
        raise _Odd(f"a JSON object is needed, found {type(found).__name__}")
    odd = sorted(set(found) - set(_LINE_KEYS))
    if odd:
        raise _Odd(f"key {odd[0]!r} is none of {', '.join(_LINE_KEYS)}")
    if ("prompt" in found) == ("messages" in found):
        raise _Odd("one of 'prompt' and 'messages' is needed, and not both")
    tokens = found.get("output_tokens")
    if tokens is not None and (type(tokens) is not int or tokens < 1):
        raise _Odd(f"output_tokens must be a whole number of at least 1, found {tokens!r}")
    if "prompt" in found:
        if not isinstance(found["prompt"], str):
            raise _Odd("prompt must be a text")
        return Entry(line=line, asks=(found["prompt"],), answers=(None,), output_tokens=tokens)
    if not isinstance(found["messages"], list):
        raise _Odd("messages must be a list")
    asks, answers = _turns([_said(message, "role", "content") for message in found["messages"]])
    if not asks:
        raise _Odd("no message of the user")
    return Entry(line=line, asks=asks, answers=answers, output_tokens=tokens)


def _said(message: Any, who: str, what: str) -> tuple[str, str]:
    if not isinstance(message, Mapping) or not isinstance(message.get(what), str):
        raise _Odd(f"a message needs {who!r} and a text {what!r}, found {str(message)[:80]}")
    role = message.get(who)
    if role not in _ROLES:
        raise _Odd(f"{who} {role!r} is none of {', '.join(_ROLES)}")
    return _ROLES[role], message[what]


def _turns(said: list[tuple[str, str]]) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """Turns of a user and the answers to them. What a user says in several messages is one, a
    system's message opens the user's next, and an answer to nothing is left out."""
    asks: list[str] = []
    answers: list[str | None] = []
    opening: list[str] = []
    for role, text in said:
        if role == _ANSWER:
            if answers and answers[-1] is None and not opening:
                answers[-1] = text
            continue
        if role == _USER and asks and answers[-1] is None and not opening:
            asks[-1] = f"{asks[-1]}\n\n{text}"
            continue
        opening.append(text)
        if role == _USER:
            asks.append("\n\n".join(opening))
            answers.append(None)
            opening = []
    return tuple(asks), tuple(answers)
