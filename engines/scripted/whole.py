"""Answers that come in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantswarm.engines.scripted import vocabulary
from quantswarm.engines.scripted.ask import CHAT, Ask, Prompt
from quantswarm.engines.scripted.chunks import WRONG_BY, chat_logprobs, text_logprobs


def document(
    ask: Ask, request_id: str, created_s: int, tokens: Sequence[int], finish: str
) -> dict[str, Any]:
    """The JSON of an answer; each prompt gets the same tokens."""
    is_chat = ask.api == CHAT
    choices = [
        _message(ask, tokens, finish) if is_chat else _text(ask, prompt, tokens, finish, at)
        for at, prompt in enumerate(ask.prompts)
    ]
    answer: dict[str, Any] = {
        "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{request_id}",
        "object": "chat.completion" if is_chat else "text_completion",
        "created": created_s,
        "model": ask.model,
        "choices": choices,
    }
    if ask.behaviour.shape.usage != "absent":
        made = len(tokens) * len(ask.prompts)
        made += WRONG_BY if ask.behaviour.shape.usage == "wrong" else 0
        answer["usage"] = usage(ask.prompt_tokens, made)
    return answer


def usage(prompt: int, made: int) -> dict[str, int]:
    """OpenAI's counts."""
    return {"prompt_tokens": prompt, "total_tokens": prompt + made, "completion_tokens": made}


def _message(ask: Ask, tokens: Sequence[int], finish: str) -> dict[str, Any]:
    text = "".join(map(vocabulary.text_of, tokens))
    scores = None if ask.logprobs is None else chat_logprobs(tokens, ask.logprobs)
    message = {"role": "assistant", "content": text}
    return {"index": 0, "message": message, "logprobs": scores, "finish_reason": finish}


def _text(ask: Ask, prompt: Prompt, tokens: Sequence[int], finish: str, at: int) -> dict[str, Any]:
    """With an echo the prompt's tokens come first, and the very first has no score."""
    shown, ids = (prompt_pieces(prompt), prompt_ids(prompt)) if ask.echo else ((), ())
    texts = [*shown, *map(vocabulary.text_of, tokens)]
    scores = None
    if ask.logprobs is not None:
        scores = text_logprobs(
            [*ids, *tokens], ask.logprobs, offset=0, texts=texts, unscored=int(ask.echo)
        )
        scores = as_ids(scores) if ask.shows_ids else scores
    return {"index": at, "text": "".join(texts), "logprobs": scores, "finish_reason": finish}


def as_ids(scores: dict[str, Any]) -> dict[str, Any]:
    """The same log-probabilities with tokens shown as vLLM does on demand: `token_id:N`."""

    def shown(text: str) -> str:
        return f"token_id:{vocabulary.id_of(text)}"

    top = [
        told and {shown(text): value for text, value in told.items()}
        for told in scores["top_logprobs"]
    ]
    return {**scores, "tokens": list(map(shown, scores["tokens"])), "top_logprobs": top}


def prompt_ids(prompt: Prompt) -> tuple[int, ...]:
    """Ids of a prompt's tokens."""
    if isinstance(prompt, str):
        return tuple(map(vocabulary.id_of, vocabulary.pieces(prompt)))
    return prompt


def prompt_pieces(prompt: Prompt) -> tuple[str, ...]:
    """Text of a prompt's tokens; joined, it is the prompt."""
    if isinstance(prompt, str):
        return vocabulary.pieces(prompt)
    return tuple(map(vocabulary.text_of, prompt))
