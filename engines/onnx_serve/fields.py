"""Request bodies, checked: what is asked of the model, or why it is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_LOGPROBS = 64
DEFAULT_COMPLETION_TOKENS = 16
"""OpenAI's own default for completions."""
_LEAST_TOP_P = 1e-6
"""Stands for 0, at which the likeliest token alone is left."""
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,), "best_of": (1,), "frequency_penalty": (0,), "presence_penalty": (0,),
    "min_p": (0,), "logit_bias": ({},), "suffix": ("",), "tools": ([],), "functions": ([],),
    "response_format": ({"type": "text"},), "prompt_logprobs": (0,), "use_beam_search": (False,),
}  # fmt: skip
"""Fields that this server has nothing for → the values at which they ask for nothing."""


class Refused(Exception):
    """An HTTP status and OpenAI's error object: `message`, `type`, `param`, `code`."""

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    def document(self) -> dict[str, Any]:
        """As it goes over the wire."""
        kinds = {
            401: "authentication_error",
            404: "not_found_error",
            500: "server_error",
            503: "server_error",
        }
        return {
            "error": {
                "message": str(self),
                "type": kinds.get(self.status, "invalid_request_error"),
                "param": self.param,
                "code": self.code,
            }
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request. `prompt` is text or token ids; `messages` are a chat's, and then it is "".

    `most_tokens` None: as many as there is room for. `logprobs` None: none are told; else as many
    of the likeliest at each place. `echo` tells the prompt again, before the answer.
    """

    chat: bool
    prompt: str | tuple[int, ...] = ""
    messages: tuple[Mapping[str, Any], ...] = ()
    most_tokens: int | None = None
    least_tokens: int = 0
    ignore_eos: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    usage: bool = False
    usage_each: bool = False
    logprobs: int | None = None
    echo: bool = False
    ids_as_text: bool = False


def parsed(body: bytes, served_name: str, *, chat: bool) -> Ask:
    """The request in `body`; `Refused` for another model and for what cannot be done."""
    fields = _object(body)
    model = fields.get("model")
    if model != served_name:
        raise Refused(
            f"The model {model!r} does not exist; this server has {served_name!r}.",
            status=404, param="model", code="model_not_found",
        )  # fmt: skip
    for name, neutral in _NEUTRAL.items():
        if fields.get(name) is not None and fields[name] not in neutral:
            raise Refused(f"{name} is not supported by this server.", param=name)
    options = fields.get("stream_options") or {}
    if not isinstance(options, dict):
        raise Refused("stream_options must be an object.", param="stream_options")
    read = _Reader(fields)
    most = _most_tokens(read, chat=chat)
    least = read.whole("min_tokens", 0, least=0)
    if most is not None and least > most:
        raise Refused(f"min_tokens is {least}, max_tokens is {most}.", param="min_tokens")
    top_k = read.whole("top_k", 0, least=-1)
    return Ask(
        chat=chat,
        prompt="" if chat else _prompt(fields.get("prompt")),
        messages=_messages(fields.get("messages")) if chat else (),
        most_tokens=most,
        least_tokens=least,
        ignore_eos=read.flag("ignore_eos"),
        temperature=read.number("temperature", 1.0, 0.0, 2.0),
        top_p=max(_LEAST_TOP_P, read.number("top_p", 1.0, 0.0, 1.0)),
        top_k=max(0, top_k),
        repetition_penalty=read.number("repetition_penalty", 1.0, 0.01, 10.0),
        seed=read.whole("seed", 0, least=0) if fields.get("seed") is not None else None,
        stop=_stops(fields.get("stop")),
        stream=read.flag("stream"),
        usage=bool(options.get("include_usage")),
        usage_each=bool(options.get("continuous_usage_stats")),
        logprobs=_logprobs(read, chat=chat),
        echo=read.flag("echo") and not chat,
        ids_as_text=read.flag("return_tokens_as_token_ids"),
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("The body is not valid JSON.") from None
    if not isinstance(found, dict):
        raise Refused("The body must be a JSON object.")
    return found


class _Reader:
    """Fields by type; absent and null mean the default."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def given(self, name: str) -> bool:
        return self._fields.get(name) is not None

    def flag(self, name: str) -> bool:
        return bool(self._read(name, False, lambda value: isinstance(value, bool), "true or false"))

    def whole(self, name: str, default: int, *, least: int, most: int = 2**31 - 1) -> int:
        def fits(value: Any) -> bool:
            right = isinstance(value, int) and not isinstance(value, bool)
            return right and least <= value <= most

        return int(self._read(name, default, fits, f"a whole number from {least} to {most}"))

    def number(self, name: str, default: float, least: float, most: float) -> float:
        def fits(value: Any) -> bool:
            right = isinstance(value, int | float) and not isinstance(value, bool)
            return right and math.isfinite(value) and least <= value <= most

        return float(self._read(name, default, fits, f"a number from {least:g} to {most:g}"))

    def _read(self, name: str, default: Any, fits: Callable[[Any], bool], wanted: str) -> Any:
        value = self._fields.get(name)
        if value is None:
            return default
        if not fits(value):
            raise Refused(f"{name} must be {wanted}.", param=name)
        return value


def _most_tokens(read: _Reader, *, chat: bool) -> int | None:
    name = "max_completion_tokens" if read.given("max_completion_tokens") else "max_tokens"
    if not read.given(name):
        return None if chat else DEFAULT_COMPLETION_TOKENS
    # No tokens at all: the prompt alone is scored.
    return read.whole(name, 0, least=1 if chat or not read.flag("echo") else 0)


def _logprobs(read: _Reader, *, chat: bool) -> int | None:
    if not chat:
        wanted = read.given("logprobs")
        return read.whole("logprobs", 0, least=0, most=MOST_LOGPROBS) if wanted else None
    if not read.flag("logprobs"):
        return None
    return read.whole("top_logprobs", 0, least=0, most=MOST_LOGPROBS)


def _prompt(given: Any) -> str | tuple[int, ...]:
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str | list):
        given = given[0]
    if isinstance(given, str):
        return given
    if isinstance(given, list) and given and all(type(one) is int for one in given):
        return tuple(given)
    raise Refused("prompt must be one text, or one list of token ids.", param="prompt")


def _messages(given: Any) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(given, list) or not given:
        raise Refused("messages must be a list that is not empty.", param="messages")
    return tuple(_message(one) for one in given)


def _message(one: Any) -> Mapping[str, Any]:
    """Role and text; parts of type text are joined."""
    if not isinstance(one, dict) or not isinstance(one.get("role"), str):
        raise Refused("each message must be an object with a role.", param="messages")
    content = one.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        if len(texts) != len(content) or not all(isinstance(text, str) for text in texts):
            raise Refused("only parts of type text are supported.", param="messages")
        content = "".join(map(str, texts))
    if not isinstance(content, str):
        raise Refused("each message must have content.", param="messages")
    return {"role": one["role"], "content": content}


def _stops(given: Any) -> tuple[str, ...]:
    found: Sequence[Any] = [given] if isinstance(given, str) else (given or [])
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise Refused("stop must be a text, or a list of texts.", param="stop")
    return tuple(found)
