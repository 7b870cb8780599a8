"""What a request asks for beyond what `transformers serve` reads; pure.

Its handlers refuse fields that they do not know, ignore `n` and `logprobs`, stay greedy at any
temperature unless the model's own configuration samples, and break at a number that is none. So
requests are checked here first, and what its handlers do not know is taken out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from quantswarm.engines.transformers_serve.arguments import MOST_LOGPROBS

OWN = frozenset(
    {
        "ignore_eos",
        "min_tokens",
        "return_tokens_as_token_ids",
        "max_completion_tokens",
        "logprobs",
        "top_logprobs",
        "echo",
    }
)
"""Fields that are read here and never reach the handlers."""
MOST_WHEN_UNSAID = 1024
"""Tokens of an answer whose length nobody gave, as `transformers serve` has it."""
_WITHOUT_EFFECT = (
    *("presence_penalty", "response_format", "functions", "function_call", "prediction"),
    *("audio", "modalities", "web_search_options"),
)
"""Fields of OpenAI's that its handlers accept and ignore, though they would change an answer."""
_PLAIN: Mapping[str, Any] = {"response_format": {"type": "text"}, "function_call": "none"}
_SHAPING = ("temperature", "stop", "frequency_penalty", "logit_bias", "min_tokens")
"""What a continuous batch cannot do for one request of it."""


class Refused(Exception):
    """A request that cannot be served as it stands; `status` is HTTP's."""

    def __init__(self, message: str, status: int = 400) -> None:
        self.message = message
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """`top` is the number of likeliest tokens to tell at each place, None where log-probabilities
    are not asked for. `prompt_ids` is set where the prompt came as token ids. `shaping` are the
    fields by which it is no plain greedy request."""

    max_tokens: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    temperature: float | None = None
    top: int | None = None
    echo: bool = False
    as_ids: bool = False
    running_usage: bool = False
    prompt_ids: tuple[int, ...] | None = None
    shaping: tuple[str, ...] = ()

    @property
    def scored(self) -> bool:
        """Whether log-probabilities are asked for."""
        return self.top is not None


def read(body: Mapping[str, Any], known: Collection[str], served: str, *, chat: bool) -> Wish:
    """What the request asks for; `Refused` with what is wrong with it.

    `known` are the fields that the handler reads, `served` is the model's name.
    """
    unknown = sorted(set(body) - set(known) - OWN)
    if unknown:
        raise Refused(f"unknown fields: {', '.join(unknown)}")
    named = body.get("model")
    if named is not None and named != served:
        raise Refused(f"the model {named!r} does not exist; this server has {served!r}", 404)
    _refuse_ignored(body)
    _numbers(body)
    echo = not chat and bool(body.get("echo"))
    if echo and body.get("stream"):
        raise Refused("echo is not streamed")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, Mapping):
        raise Refused("stream_options must be an object")
    if chat:
        _check_messages(body)
    return Wish(
        max_tokens=_most(body, least=0 if echo else 1),
        min_tokens=_count(body, "min_tokens", least=0) or 0,
        ignore_eos=bool(body.get("ignore_eos")),
        temperature=body.get("temperature"),
        top=_top(body, chat=chat),
        echo=echo,
        as_ids=bool(body.get("return_tokens_as_token_ids")),
        running_usage=bool((options or {}).get("continuous_usage_stats")),
        prompt_ids=None if chat else _prompt(body),
        shaping=tuple(name for name in _SHAPING if body.get(name)),
    )


def _refuse_ignored(body: Mapping[str, Any]) -> None:
    for name in ("n", "best_of"):
        if body.get(name) not in (None, 1):
            raise Refused(f"{name} must be 1: there is one choice an answer")
    for name in _WITHOUT_EFFECT:
        if body.get(name) and body[name] != _PLAIN.get(name):
            raise Refused(f"{name} is not supported")


def left(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields for the handlers."""
    return {name: value for name, value in body.items() if name not in OWN}


def room(wish: Wish, prompt_tokens: int, context_tokens: int) -> int:
    """Tokens that the answer may have; `Refused` where prompt and answer do not fit."""
    free = context_tokens - prompt_tokens
    wanted = wish.max_tokens
    if free < (1 if wanted is None else wanted):
        asked = "" if wanted is None else f" and {wanted} to generate"
        raise Refused(
            f"the prompt has {prompt_tokens} tokens{asked}; the context has room for"
            f" {context_tokens}"
        )
    return min(MOST_WHEN_UNSAID, free) if wanted is None else wanted


def _most(body: Mapping[str, Any], *, least: int) -> int | None:
    newer = _count(body, "max_completion_tokens", least=least)
    return _count(body, "max_tokens", least=least) if newer is None else newer


def _count(body: Mapping[str, Any], name: str, *, least: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise Refused(f"{name} must be a whole number of at least {least}")
    return value


def _numbers(body: Mapping[str, Any]) -> None:
    for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty"):
        value = body.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise Refused(f"{name} must be a number")
    if (body.get("temperature") or 0) < 0:
        raise Refused("temperature must not be negative")


def _top(body: Mapping[str, Any], *, chat: bool) -> int | None:
    """Chat has a switch and a number, completions have the number alone."""
    asked = body.get("logprobs")
    if chat:
        if not asked:
            return None
        top = _count(body, "top_logprobs", least=0) or 0
    elif asked is None or asked is False:
        return None
    else:
        top = _count(body, "logprobs", least=0) or 0
    if top > MOST_LOGPROBS:
        raise Refused(f"at most {MOST_LOGPROBS} log-probabilities a token")
    return top


def _prompt(body: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Ids where the prompt is a list of them, None for a text."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return None
    whole = isinstance(prompt, list) and prompt and all(type(one) is int for one in prompt)
    if not whole:
        raise Refused("prompt must be one text, or one list of token ids")
    assert isinstance(prompt, list)
    return tuple(prompt)


def _check_messages(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused("messages must be a list of at least one message")
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Refused("each message must be an object with a role")
        if not isinstance(message.get("content"), str | list | None):
            raise Refused("content must be a text, or a list of parts")
