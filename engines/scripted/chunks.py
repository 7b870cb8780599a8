"""The JSON of a stream's events, made fast: what does not change is rendered once a request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.engines.scripted import vocabulary
from quantswarm.engines.scripted.ask import CHAT, Ask

_OBJECTS = {True: "chat.completion.chunk", False: "text_completion"}
WRONG_BY = 3
"""How many tokens too many a wrong usage claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One event's share of the answer: ids of its tokens, the number of tokens with it."""

    tokens: Sequence[int]
    so_far: int
    finish: str | None = None


class Renderer:
    """Bytes of one stream's events, line ends included."""

    def __init__(self, ask: Ask, request_id: str, prompt_tokens: int, created_s: int) -> None:
        self._ask = ask
        self._is_chat = ask.api == CHAT
        self._prompt_tokens = prompt_tokens
        self._end = "\r\n\r\n" if ask.behaviour.shape.eol == "crlf" else "\n\n"
        self._comment = ": still here" + self._end
        self._top = json.dumps(
            {
                "id": f"{'chatcmpl' if self._is_chat else 'cmpl'}-{request_id}",
                "object": _OBJECTS[self._is_chat],
                "created": created_s,
                "model": ask.model,
            }
        )[:-1]
        opening = '"delta":{"content":"' if self._is_chat else '"text":"'
        self._before = f'data: {self._top}, "choices":[{{"index":0,{opening}'
        self._close = '"}' if self._is_chat else '"'
        self._plain = f'{self._close},"logprobs":null,"finish_reason":null}}]}}{self._end}'

    def content(self, piece: Piece, *, usage: bool = False, last: str = "") -> bytes:
        """An event with text; `usage` adds the running count, `last` is JSON for the top level."""
        text = "".join(map(vocabulary.text_of, piece.tokens))
        if piece.finish is None and not usage and self._ask.logprobs is None:
            return f"{self._before}{text}{self._plain}".encode()
        scored = "null" if self._ask.logprobs is None else json.dumps(self._scores(piece))
        reason = "null" if piece.finish is None else f'"{piece.finish}"'
        count = f',"usage":{self._usage(piece.so_far)}' if usage else ""
        return (
            f'{self._before}{text}{self._close},"logprobs":{scored},"finish_reason":{reason}}}]'
            f"{count}{last}}}{self._end}"
        ).encode()

    def role(self) -> bytes:
        """Chat's opening event, which has no text."""
        delta = {"role": "assistant", "content": ""}
        return self._event({"choices": [_choice({"delta": delta})]})

    def with_role(self, piece: Piece, *, usage: bool = False) -> bytes:
        """A first event of text that says the role as well."""
        plain = self.content(piece, usage=usage).decode()
        return plain.replace('"delta":{', '"delta":{"role":"assistant",', 1).encode()

    def finish(self, reason: str) -> bytes:
        """An event with nothing but the reason why the answer ends."""
        empty: dict[str, Any] = {"delta": {}} if self._is_chat else {"text": ""}
        return self._event({"choices": [_choice(empty, reason)]})

    def usage(
        self, tokens: int, *, wrong: bool = False, more: dict[str, Any] | None = None
    ) -> bytes:
        """The event without choices at a stream's end."""
        count = json.loads(self._usage(tokens + WRONG_BY if wrong else tokens))
        return self._event({"choices": [], "usage": count, **(more or {})})

    def error(self, message: str) -> bytes:
        """An error in the place of an event."""
        error = {"message": message, "type": "InternalServerError", "param": None, "code": 500}
        return self._line(json.dumps({"error": error}))

    def malformed(self) -> bytes:
        """An event whose JSON breaks off."""
        return self._line(f'{self._top}, "choices":[{{"index":0,')

    def comment(self) -> bytes:
        """A line that a reader of events must pass over."""
        return self._comment.encode()

    def done(self) -> bytes:
        """The end mark."""
        return self._line("[DONE]")

    def merged_usage(self, tokens: int, more: dict[str, Any]) -> str:
        """JSON that a last event of text takes in at its top level."""
        rest = "".join(f",{json.dumps(key)}:{json.dumps(value)}" for key, value in more.items())
        return f',"usage":{self._usage(tokens)}{rest}'

    def _usage(self, tokens: int) -> str:
        prompt = self._prompt_tokens
        return (
            f'{{"prompt_tokens":{prompt},"total_tokens":{prompt + tokens},'
            f'"completion_tokens":{tokens}}}'
        )

    def _scores(self, piece: Piece) -> dict[str, Any]:
        most = self._ask.logprobs or 0
        if self._is_chat:
            return chat_logprobs(piece.tokens, most)
        return text_logprobs(piece.tokens, most, offset=0)

    def _event(self, more: dict[str, Any]) -> bytes:
        return self._line(f"{self._top}, {json.dumps(more)[1:]}")

    def _line(self, data: str) -> bytes:
        return f"data: {data}{self._end}".encode()


def _choice(content: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, **content, "logprobs": None, "finish_reason": reason}


def chat_logprobs(tokens: Sequence[int], most: int) -> dict[str, Any]:
    """Chat's form: a list with an entry for each token."""
    return {"content": [_scored(token, most) for token in tokens]}


def _scored(token: int, most: int) -> dict[str, Any]:
    others = vocabulary.alternatives(token, most) if most else {}
    top = [_entry(text, score) for text, score in others.items()]
    return {**_entry(vocabulary.text_of(token), vocabulary.logprob(token)), "top_logprobs": top}


def _entry(text: str, score: float) -> dict[str, Any]:
    return {"token": text, "logprob": score, "bytes": list(text.encode())}


def text_logprobs(
    tokens: Sequence[int],
    most: int,
    *,
    offset: int,
    texts: Sequence[str] | None = None,
    unscored: int = 0,
) -> dict[str, Any]:
    """The completions' form. `texts` replaces the tokens' own; the first `unscored` have null."""
    shown = list(texts) if texts is not None else [vocabulary.text_of(token) for token in tokens]
    offsets = []
    for text in shown:
        offsets.append(offset)
        offset += len(text)
    scored = range(unscored, len(tokens))
    nothing: list[None] = [None] * min(unscored, len(tokens))
    return {
        "text_offset": offsets,
        "tokens": shown,
        "token_logprobs": [*nothing, *(vocabulary.logprob(tokens[at]) for at in scored)],
        "top_logprobs": [*nothing, *(vocabulary.alternatives(tokens[at], most) for at in scored)],
    }
