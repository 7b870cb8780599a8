"""A request, read and checked: what was asked, or the refusal that OpenAI's API would give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.engines.scripted import vocabulary
from quantswarm.engines.scripted.behaviour import Behaviour, parse
from quantswarm.models.errors import UserMistake

COMPLETIONS, CHAT = "completions", "chat"
OWN_NAME = "scripted"
DEFAULT_TOKENS = {COMPLETIONS: 16, CHAT: 64}
MOST_TOKENS = 1_000_000

Prompt = str | tuple[int, ...]
"""Text, or the ids of its tokens."""


class Refusal(Exception):
    """An answer in OpenAI's form of an error."""

    def __init__(self, status: int, message: str, kind: str, code: str | int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.code = code

    def document(self) -> dict[str, Any]:
        """The body."""
        error = {"message": str(self), "type": self.kind, "param": None, "code": self.code}
        return {"error": error}


def bad_request(message: str, code: str | int | None = 400) -> Refusal:
    """A 400."""
    return Refusal(400, message, "BadRequestError", code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """`max_tokens` None: not said. `logprobs`: number of alternatives, None: not asked for;
    `shows_ids`: in them tokens are shown as ids (of an answer in one piece)."""

    api: str
    model: str
    behaviour: Behaviour
    prompts: tuple[Prompt, ...]
    stream: bool = False
    max_tokens: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    echo: bool = False
    logprobs: int | None = None
    shows_ids: bool = False
    include_usage: bool = False
    continuous_usage: bool = False

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts together."""
        return sum(map(count_tokens, self.prompts))

    def length(self, natural: int | None) -> tuple[int, str]:
        """How many tokens an answer gets, and its finish_reason."""
        asked = DEFAULT_TOKENS[self.api] if self.max_tokens is None else self.max_tokens
        if natural is None or (self.ignore_eos and self.max_tokens is not None):
            return asked, "length"
        wanted = max(natural, self.min_tokens)
        if self.max_tokens is not None and wanted >= self.max_tokens:
            return self.max_tokens, "length"
        return wanted, "stop"


def count_tokens(prompt: Prompt) -> int:
    """Number of ids, or of words."""
    return vocabulary.count_words(prompt) if isinstance(prompt, str) else len(prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What the server was started with."""

    name: str = OWN_NAME
    behaviour: Behaviour
    context_tokens: int


def read_ask(api: str, body: bytes, served: Served) -> Ask:
    """The request, or `Refusal`: 400 for what cannot be read or served, 404 for another model."""
    raw = read_json(body)
    model = raw.get("model", served.name)
    behaviour = _behaviour_of(model, served)
    prompts = _prompts(raw) if api == COMPLETIONS else (_conversation(raw),)
    options = raw.get("stream_options") or {}
    if not isinstance(options, dict):
        raise bad_request(f"stream_options must be an object, found {options!r}")
    ask = Ask(
        api=api,
        model=model,
        behaviour=behaviour,
        prompts=prompts,
        stream=bool(raw.get("stream")),
        max_tokens=_most(raw),
        min_tokens=_count(raw, "min_tokens") or 0,
        ignore_eos=bool(raw.get("ignore_eos")),
        echo=api == COMPLETIONS and bool(raw.get("echo")),
        logprobs=_logprobs(api, raw),
        shows_ids=bool(raw.get("return_tokens_as_token_ids")),
        include_usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("continuous_usage_stats")),
    )
    _check(ask, raw, served)
    return ask


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON object, or a refusal that says where it breaks."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise bad_request("the body is not a JSON object")
    return raw


def _behaviour_of(model: object, served: Served) -> Behaviour:
    said = _said(model, served.name)
    if said is None:
        raise Refusal(
            404,
            f"The model {model!r} does not exist. There is {served.name!r}, and "
            f"'{served.name}:KEY=VALUE,…' with keys such as ttft=50ms,itl=10ms.",
            "NotFoundError",
            "model_not_found",
        )
    try:
        return parse(said, served.behaviour)
    except UserMistake as error:
        raise bad_request(str(error), "bad_behaviour") from None


def _said(model: object, own: str) -> str | None:
    """What the name says of the behaviour, empty for the plain name; None for another model."""
    if model == own:
        return ""
    for name in (own, OWN_NAME):
        if isinstance(model, str) and model.startswith(f"{name}:"):
            return model[len(name) + 1 :]
    return None


def _prompts(raw: Mapping[str, Any]) -> tuple[Prompt, ...]:
    prompt = raw.get("prompt")
    if isinstance(prompt, str):
        return (prompt,)
    if isinstance(prompt, list) and prompt:
        if _is_ids(prompt):
            return (tuple(prompt),)
        if all(isinstance(one, str) for one in prompt):
            return tuple(prompt)
        if all(map(_is_ids, prompt)):
            return tuple(map(tuple, prompt))
    raise bad_request("prompt must be text, token ids, or a list of either, and not empty")


def _is_ids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(one) is int and one >= 0 for one in value)
    )


def _conversation(raw: Mapping[str, Any]) -> str:
    """All messages' text: roles and templates count for nothing here."""
    messages = raw.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages must be a list that is not empty")
    return "\n".join(map(_content, messages))


def _content(message: object) -> str:
    content = message.get("content") if isinstance(message, dict) else 0
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    if content is not None and not isinstance(content, str):
        raise bad_request("a message must be an object whose content is text")
    return content or ""


def _most(raw: Mapping[str, Any]) -> int | None:
    """Chat's newer name goes first."""
    newer = _count(raw, "max_completion_tokens")
    return newer if newer is not None else _count(raw, "max_tokens")


def _count(raw: Mapping[str, Any], key: str) -> int | None:
    value = raw.get(key)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= MOST_TOKENS:
        raise bad_request(f"{key} must be a whole number from 0 to {MOST_TOKENS}, found {value!r}")
    return value


def _logprobs(api: str, raw: Mapping[str, Any]) -> int | None:
    if api == COMPLETIONS:
        wanted = _count(raw, "logprobs")
    else:
        wanted = (_count(raw, "top_logprobs") or 0) if raw.get("logprobs") else None
    if wanted is not None and wanted > vocabulary.MOST_ALTERNATIVES:
        raise bad_request(f"{wanted} alternatives, at most {vocabulary.MOST_ALTERNATIVES}")
    return wanted


def _check(ask: Ask, raw: Mapping[str, Any], served: Served) -> None:
    if raw.get("n") not in (None, 1) or raw.get("best_of") not in (None, 1):
        raise bad_request("one choice a prompt: n and best_of must be 1")
    if ask.stream and (ask.echo or len(ask.prompts) > 1):
        raise bad_request("a stream has one prompt and no echo")
    if ask.max_tokens == 0 and not ask.echo:
        raise bad_request("max_tokens must be at least 1, but for an echo")
    if ask.max_tokens is not None and ask.min_tokens > ask.max_tokens:
        raise bad_request(f"min_tokens {ask.min_tokens} is above max_tokens {ask.max_tokens}")
    _check_context(ask.prompts, ask.behaviour.context_tokens or served.context_tokens)


def _check_context(prompts: Sequence[Prompt], most: int) -> None:
    longest = max(map(count_tokens, prompts))
    if longest > most:
        raise bad_request(
            f"This model's maximum context length is {most} tokens. The prompt has {longest}.",
            "context_length_exceeded",
        )
