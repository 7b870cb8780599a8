"""Request bodies: what they mean, and why some are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from quantswarm.engines.onnx_serve.fields import MOST_LOGPROBS, Ask, Refused, parsed

MESSAGES = [{"role": "user", "content": "hi"}]


def completion(**fields: Any) -> Ask:
    body = json.dumps({"model": "m", "prompt": "a", **fields}).encode()
    return parsed(body, "m", chat=False)


def chat(**fields: Any) -> Ask:
    body = json.dumps({"model": "m", "messages": MESSAGES, **fields}).encode()
    return parsed(body, "m", chat=True)


def test_openais_defaults() -> None:
    plain = completion()
    assert (plain.most_tokens, plain.temperature, plain.logprobs) == (16, 1.0, None)
    assert chat().most_tokens is None
    assert chat(max_completion_tokens=3, max_tokens=5).most_tokens == 3


def test_null_means_the_default() -> None:
    assert completion(max_tokens=None, stop=None, n=None, stream_options=None) == completion()


@pytest.mark.parametrize("ids", [[5, 6, 7], [[5, 6, 7]]])
def test_a_prompt_may_be_token_ids(ids: Any) -> None:
    assert completion(prompt=ids).prompt == (5, 6, 7)


def test_what_a_measurement_sends() -> None:
    told = completion(
        ignore_eos=True,
        min_tokens=8,
        max_tokens=8,
        stream=True,
        stream_options={"include_usage": True, "continuous_usage_stats": True},
    )
    assert told.ignore_eos
    assert (told.least_tokens, told.most_tokens) == (8, 8)
    assert (told.stream, told.usage, told.usage_each) == (True, True, True)


def test_parts_of_a_message_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    told = chat(messages=[{"role": "user", "content": parts}])
    assert told.messages == ({"role": "user", "content": "ab"},)


def test_logprobs_in_both_dialects() -> None:
    assert completion(logprobs=0).logprobs == 0
    assert chat(logprobs=True, top_logprobs=2).logprobs == 2
    assert chat(logprobs=True).logprobs == 0
    assert chat(top_logprobs=2).logprobs is None


def test_a_prompt_may_be_scored_without_an_answer() -> None:
    assert completion(max_tokens=0, echo=True, logprobs=1).most_tokens == 0
    with pytest.raises(Refused):
        completion(max_tokens=0)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, True]}, "prompt"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"min_tokens": 17}, "min_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 1}, "stream_options"),
        ({"stop": [""]}, "stop"),
        ({"stop": 1}, "stop"),
        ({"logprobs": MOST_LOGPROBS + 1}, "logprobs"),
        ({"n": 2}, "n"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Refused) as caught:
        completion(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert caught.value.document()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("messages", [None, [], "hi", [{}], [{"role": "user"}], [{"role": 1}]])
def test_messages_that_are_none(messages: Any) -> None:
    with pytest.raises(Refused, match="message"):
        chat(messages=messages)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object(body: bytes) -> None:
    with pytest.raises(Refused, match="body"):
        parsed(body, "m", chat=False)


def test_neutral_values_of_unsupported_fields_pass() -> None:
    assert completion(n=1, presence_penalty=0.0, logit_bias={}, tools=[]) == completion()


def test_another_model_is_not_found() -> None:
    with pytest.raises(Refused) as caught:
        completion(model="other")
    assert caught.value.status == 404
