"""The `openai` package, as a user would drive the server."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

FAST = "scripted:ttft=2ms,itl=1ms"
CHAT: Any = [{"role": "user", "content": "say something"}]


@pytest.fixture
def client(server: Any) -> openai.OpenAI:
    url = f"http://127.0.0.1:{server.port}/v1"
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=30)


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list().data] == ["scripted"]


def test_completion_and_stream(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=FAST, prompt="a b", max_tokens=5)
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (2, 5)
    assert whole.choices[0].finish_reason == "length"
    stream = client.completions.create(model=FAST, prompt="a b", max_tokens=5, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == whole.choices[0].text


def test_chat_stream_with_usage_and_logprobs(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=f"{FAST},role=early,comments=1,split=utf8",
        messages=CHAT,
        max_completion_tokens=5,
        stream=True,
        logprobs=True,
        top_logprobs=2,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert len([text for text in texts if text]) == 5
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5


def test_chat_with_logprobs(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=FAST, messages=CHAT, max_tokens=4, logprobs=True, top_logprobs=2
    )
    assert answer.choices[0].logprobs is not None
    scored = answer.choices[0].logprobs.content
    assert scored is not None
    assert [round(token.logprob, 6) for token in scored] == [
        -0.693147,
        -1.386294,
        -2.079442,
        -2.772589,
    ]


def test_many_at_once(server: Any) -> None:
    async def together() -> list[str]:
        url = f"http://127.0.0.1:{server.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def one() -> str:
                stream = await client.completions.create(
                    model=FAST, prompt="x", max_tokens=20, stream=True
                )
                return "".join([chunk.choices[0].text async for chunk in stream])

            return list(await asyncio.gather(*(one() for _ in range(12))))

    answers = asyncio.run(together())
    assert len(set(answers)) == 1
    assert len(answers[0].split()) == 20


def test_errors_are_the_packages_own(client: openai.OpenAI) -> None:
    def create(model: str, prompt: str = "x") -> Any:
        return client.completions.create(model=model, prompt=prompt, max_tokens=2)

    with pytest.raises(openai.NotFoundError):
        create("another")
    with pytest.raises(openai.BadRequestError, match="context length is 100"):
        create(FAST, "word " * 200)
    with pytest.raises(openai.RateLimitError):
        create(f"{FAST},fault=429")
    with pytest.raises(openai.AuthenticationError):
        create(f"{FAST},fault=401")
    with pytest.raises(openai.InternalServerError):
        create(f"{FAST},fault=503")
    with pytest.raises(openai.APIConnectionError):
        create(f"{FAST},fault=reset")
    with pytest.raises(openai.APIError, match="on purpose"):
        list(
            client.completions.create(
                model=f"{FAST},fault=error-event", prompt="x", max_tokens=5, stream=True
            )
        )
