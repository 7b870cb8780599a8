"""Log-probabilities in the two forms that OpenAI's interface has for them; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Text = Callable[[int], str]
"""A token's text, or its id in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A token at its place; `logprob` is None for a prompt's first token, which follows nothing."""

    token: int
    logprob: float | None
    top: tuple[tuple[int, float], ...] = ()


def completion(tokens: Sequence[Scored], text: Text, start: int = 0) -> dict[str, Any]:
    """OpenAI's form of completions; `start` is where the first token's text begins."""
    offsets, at = [], start
    shown = [text(one.token) for one in tokens]
    for word in shown:
        offsets.append(at)
        at += len(word)
    return {
        "tokens": shown,
        "token_logprobs": [one.logprob for one in tokens],
        "top_logprobs": [
            None if one.logprob is None else {text(token): value for token, value in one.top}
            for one in tokens
        ],
        "text_offset": offsets,
    }


def chat(tokens: Sequence[Scored], text: Text) -> dict[str, Any]:
    """OpenAI's form of chat."""
    return {
        "content": [
            {
                **_entry(one.token, one.logprob or 0.0, text),
                "top_logprobs": [_entry(token, value, text) for token, value in one.top],
            }
            for one in tokens
        ]
    }


def _entry(token: int, logprob: float, text: Text) -> dict[str, Any]:
    word = text(token)
    return {"token": word, "logprob": logprob, "bytes": list(word.encode())}
