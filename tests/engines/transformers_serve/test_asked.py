"""What requests to transformers' server may ask for, and what is refused before it computes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.engines.transformers_serve.asked import OWN, Refused, Wish, left, read, room

KNOWN = frozenset(
    {"model", "prompt", "messages", "max_tokens", "temperature", "top_p", "n", "stream"}
)
KNOWN |= {"stream_options", "logprobs", "echo", "best_of", "frequency_penalty", "presence_penalty"}
CHAT = [{"role": "user", "content": "Hello"}]


def completion(**fields):
    return read({"model": "tiny", "prompt": "a", **fields}, KNOWN, "tiny", chat=False)


def chat(**fields):
    return read({"model": "tiny", "messages": CHAT, **fields}, KNOWN, "tiny", chat=True)


def test_a_plain_request_wishes_nothing():
    assert completion() == Wish()
    assert chat() == Wish()


def test_what_a_swarm_asks_for():
    options = {"include_usage": True, "continuous_usage_stats": True}
    found = completion(max_tokens=24, temperature=0, ignore_eos=True, stream_options=options)
    assert found == Wish(max_tokens=24, temperature=0, ignore_eos=True, running_usage=True)


def test_log_probabilities_in_either_form():
    assert completion(logprobs=0).top == 0
    assert completion(logprobs=5).scored
    assert chat(logprobs=True, top_logprobs=2).top == 2
    assert chat(logprobs=True).top == 0
    assert not chat(top_logprobs=2).scored


def test_a_prompt_of_ids():
    assert completion(prompt=[3, 4]).prompt_ids == (3, 4)
    assert completion(prompt=[[3, 4]]).prompt_ids == (3, 4)
    assert completion(prompt=["text"]).prompt_ids is None


def test_the_newer_name_of_the_length_prevails():
    assert chat(max_tokens=3, max_completion_tokens=5).max_tokens == 5


def test_what_a_continuous_batch_cannot_do_is_known():
    assert completion(temperature=0, frequency_penalty=0).shaping == ()
    assert completion(temperature=0.5, min_tokens=3).shaping == ("temperature", "min_tokens")


def test_only_an_echo_may_generate_nothing():
    assert completion(max_tokens=0, echo=True).max_tokens == 0
    with pytest.raises(Refused, match="at least 1"):
        completion(max_tokens=0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"foo": 1, "bar": 2}, "unknown fields: bar, foo"),
        ({"n": 2}, "n must be 1"),
        ({"best_of": 3}, "best_of must be 1"),
        ({"presence_penalty": 0.5}, "presence_penalty is not supported"),
        ({"max_tokens": "8"}, "max_tokens must be a whole number"),
        ({"max_tokens": True}, "max_tokens must be a whole number"),
        ({"temperature": "warm"}, "temperature must be a number"),
        ({"temperature": -1}, "must not be negative"),
        ({"logprobs": 65}, "at most 64"),
        ({"logprobs": -1}, "at least 0"),
        ({"prompt": []}, "one text, or one list of token ids"),
        ({"prompt": ["a", "b"]}, "one text, or one list of token ids"),
        ({"prompt": [1, True]}, "one text, or one list of token ids"),
        ({"prompt": None}, "one text, or one list of token ids"),
        ({"stream_options": 1}, "stream_options must be an object"),
        ({"echo": True, "stream": True}, "echo is not streamed"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(fields, words):
    with pytest.raises(Refused, match=words) as caught:
        completion(**fields)
    assert caught.value.status == 400


@pytest.mark.parametrize("messages", [None, [], "hello", ["hello"], [{"content": "a"}]])
def test_messages_that_are_none(messages):
    with pytest.raises(Refused, match="message"):
        chat(messages=messages)


def test_another_model_does_not_exist():
    with pytest.raises(Refused, match="'other' does not exist; this server has 'tiny'") as caught:
        completion(model="other")
    assert caught.value.status == 404
    assert read({"prompt": "a"}, KNOWN, "tiny", chat=False) == Wish()


def test_the_handlers_get_no_field_of_ours():
    body = {"prompt": "a", "ignore_eos": True, "logprobs": 2, "temperature": 0}
    assert left(body) == {"prompt": "a", "temperature": 0}
    assert not set(left(dict.fromkeys(OWN))) & OWN


@given(
    prompt=st.integers(1, 400), wanted=st.none() | st.integers(1, 400), context=st.integers(1, 400)
)
def test_an_answer_has_its_length_or_is_refused(prompt, wanted, context):
    wish = Wish(max_tokens=wanted)
    if prompt + (wanted or 1) > context:
        with pytest.raises(Refused, match=f"the prompt has {prompt} tokens"):
            room(wish, prompt, context)
    else:
        assert room(wish, prompt, context) == (wanted or context - prompt)


def test_a_length_that_nobody_gave_has_a_bound():
    assert room(Wish(), 10, 10_000) == 1024
