"""What servers answer, read into one shape: log-probabilities of token ids at positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.models.errors import RunFailed

MARK = "token_id:"
"""How a server shows a token that was asked for as an id, not as text."""
Body = Mapping[str, Any]
Ids = Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`ids` are the prompt's and what was generated; `scored[at]` is the distribution, as far as
    it was told, of the token at place `at`, given all before it."""

    ids: tuple[int, ...]
    prompt_tokens: int
    scored: Mapping[int, Mapping[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one kind of server is asked. `path` counts from the base URL without its `/v1`."""

    path: str
    body: Callable[[Ids, int, int], dict[str, Any]]
    read: Callable[[Ids, Body], Answer]


def _echo_body(ids: Ids, output_tokens: int, top: int) -> dict[str, Any]:
    return {
        "prompt": list(ids),
        "max_tokens": output_tokens,
        "temperature": 0,
        "echo": True,
        "logprobs": top,
        "return_tokens_as_token_ids": True,
    }


def _echo_read(prompt: Ids, body: Body) -> Answer:
    """OpenAI's form: the prompt's own tokens are scored too, all but the first."""
    told = body["choices"][0]["logprobs"]
    ids = tuple(map(_id, told["tokens"]))
    if ids[: len(prompt)] != tuple(prompt):
        raise _unusable("the echoed prompt is not the one that was sent")
    scored = {}
    for at, (own, others) in enumerate(
        zip(told["token_logprobs"], told["top_logprobs"], strict=True)
    ):
        if own is not None:
            scored[at] = {**{_id(key): value for key, value in others.items()}, ids[at]: own}
    return Answer(ids=ids, prompt_tokens=len(prompt), scored=scored)


def _llama_body(ids: Ids, output_tokens: int, top: int) -> dict[str, Any]:
    """Raw distributions: before samplers, and with no prompt from a cache."""
    return {
        "prompt": list(ids),
        "n_predict": output_tokens,
        "temperature": 0,
        "n_probs": top,
        "post_sampling_probs": False,
        "cache_prompt": False,
        "return_tokens": True,
    }


def _llama_read(prompt: Ids, body: Body) -> Answer:
    """llama-server's own form: what it generated is scored, its prompt is not."""
    told = body["completion_probabilities"]
    if body.get("tokens_evaluated") != len(prompt):
        raise _unusable(f"{body.get('tokens_evaluated')} prompt tokens, {len(prompt)} were sent")
    scored = {
        len(prompt) + at: {one["id"]: one["logprob"] for one in [*entry["top_logprobs"], entry]}
        for at, entry in enumerate(told)
    }
    ids = (*prompt, *(entry["id"] for entry in told))
    return Answer(ids=ids, prompt_tokens=len(prompt), scored=scored)


def _id(shown: str) -> int:
    if not shown.startswith(MARK):
        raise _unusable(f"token {shown!r} is shown as text, its id was asked for")
    return int(shown.removeprefix(MARK))


def _unusable(found: str) -> RunFailed:
    return RunFailed(
        "the server's log-probabilities",
        found,
        next_step="say with --engine what kind of server it is",
    )


DIALECTS: Mapping[str, Dialect] = {
    "echo": Dialect(path="/v1/completions", body=_echo_body, read=_echo_read),
    "llama": Dialect(path="/completion", body=_llama_body, read=_llama_read),
}
"""By the name that an engine gives as `logprobs_by`."""
