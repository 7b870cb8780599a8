"""OpenAI's answers: whole documents, a stream's chunks, and log-probabilities in both forms."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.engines.onnx_serve.fields import Ask
from quantswarm.engines.onnx_serve.jobs import Scored

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A share of an answer: its text (may be empty), the tokens up to here, why it ends here."""

    text: str
    tokens: int
    reason: str | None = None
    scored: tuple[Scored, ...] = ()


class Documents:
    """Everything that one answer sends. `tokenizer` shows tokens as text, in log-probabilities."""

    def __init__(self, ask: Ask, served_name: str, prompt_tokens: int, tokenizer: Any) -> None:
        self._ask, self._prompt_tokens, self._tokenizer = ask, prompt_tokens, tokenizer
        kind = "chat.completion" if ask.chat else "text_completion"
        streamed = "chat.completion.chunk" if ask.chat else "text_completion"
        self._top = {
            "id": f"{'chatcmpl' if ask.chat else 'cmpl'}-{uuid.uuid4().hex}",
            "object": streamed if ask.stream else kind,
            "created": int(time.time()),
            "model": served_name,
        }
        self._offset = 0
        self._begun = False

    def whole(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """The answer in one document."""
        text = "".join(piece.text for piece in pieces)
        scored = [one for piece in pieces for one in piece.scored]
        content = {"message": {"role": "assistant", "content": text}} if self._ask.chat else None
        choice = self._choice(content or {"text": text}, scored, pieces[-1].reason)
        return {**self._top, "choices": [choice], "usage": self._usage(pieces[-1].tokens)}

    def chunk(self, piece: Piece) -> bytes:
        """One event of a stream."""
        delta: dict[str, Any] = {"content": piece.text}
        if not self._begun:
            delta = {"role": "assistant", **delta}
        self._begun = True
        content = {"delta": delta} if self._ask.chat else {"text": piece.text}
        document = {**self._top, "choices": [self._choice(content, piece.scored, piece.reason)]}
        if self._ask.usage_each:
            document["usage"] = self._usage(piece.tokens)
        elif self._ask.usage:
            document["usage"] = None
        return event(document)

    def last(self, tokens: int) -> bytes:
        """The event without choices that tells the usage, where that was asked for."""
        if not self._ask.usage:
            return b""
        return event({**self._top, "choices": [], "usage": self._usage(tokens)})

    def _choice(
        self, content: dict[str, Any], scored: Sequence[Scored], reason: str | None
    ) -> dict[str, Any]:
        told = None
        if self._ask.logprobs is not None and scored:
            told = self._of_chat(scored) if self._ask.chat else self._of_text(scored)
        return {"index": 0, **content, "logprobs": told, "finish_reason": reason}

    def _usage(self, tokens: int) -> dict[str, int]:
        prompt = self._prompt_tokens
        return {
            "prompt_tokens": prompt,
            "completion_tokens": tokens,
            "total_tokens": prompt + tokens,
        }

    def _shown(self, token: int) -> str:
        if self._ask.ids_as_text:
            return f"token_id:{token}"
        text: str = self._tokenizer.decode([token], skip_special_tokens=False)
        return text

    def _of_chat(self, scored: Sequence[Scored]) -> dict[str, Any]:
        def entry(token: int, logprob: float | None) -> dict[str, Any]:
            text = self._shown(token)
            return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

        return {
            "content": [
                {
                    **entry(one.token, one.logprob),
                    "top_logprobs": [entry(*each) for each in one.likeliest.items()],
                }
                for one in scored
            ]
        }

    def _of_text(self, scored: Sequence[Scored]) -> dict[str, Any]:
        texts = [self._shown(one.token) for one in scored]
        offsets = []
        for text in texts:
            offsets.append(self._offset)
            self._offset += len(text)
        return {
            "text_offset": offsets,
            "tokens": texts,
            "token_logprobs": [one.logprob for one in scored],
            "top_logprobs": [
                None
                if one.logprob is None
                else {self._shown(token): value for token, value in one.likeliest.items()}
                for one in scored
            ],
        }


def event(document: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(document, ensure_ascii=False)}\n\n".encode()
