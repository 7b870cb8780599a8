"""The contract of every engine with the `openai` package: each engine inherits it by being there.

One server an engine, started with a key. Engines without weights are started by their own tests.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import openai
import pytest

from quantswarm.engines.base import Engine
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engines, loads
from quantswarm.engines.server import Server, running
from quantswarm.models import source, store
from quantswarm.models.recipes import Recipe, recipes

KEY = "a-key-of-the-tests"
CONTEXT_TOKENS = 256
PROMPT = "def main():\n"
CHAT = [{"role": "user", "content": "Write a loop."}]
CHEAP_FIRST = ("fp32", "q8_0", "onnx-fp32")
WITH_WEIGHTS = [engine for engine in engines().values() if engine.formats]


@dataclass(frozen=True)
class Served:
    """A running server and how to talk to it."""

    engine: Engine
    server: Server

    def client(self, key=KEY):
        return openai.OpenAI(base_url=self.server.base_url, api_key=key, max_retries=0, timeout=120)

    def pinned(self, tokens):
        fields = dict(self.engine.pinned_fields(tokens))
        return {name: value for name, value in fields.items() if name != "stream_options"}


def cheapest(engine: Engine) -> Recipe:
    """A quantization that the engine loads: a plain one if it can, else the first."""
    able = [recipe for recipe in recipes().values() if loads(engine, recipe)]
    return min(able, key=lambda recipe: (recipe.name not in CHEAP_FIRST, recipe.name))


@pytest.mark.engines
@pytest.mark.parametrize("served", WITH_WEIGHTS, ids=lambda e: e.name, indirect=True)
class TestOpenAiClients:
    @pytest.fixture(scope="class")
    def served(self, request, tmp_path_factory):
        engine = request.param
        available = engine.probe()
        if not available.available:
            pytest.skip(f"missing: {engine.name} ({available.reason})")
        folder = tmp_path_factory.mktemp(engine.name)
        (folder / "key").write_text(f"{KEY}\n")
        recipe = cheapest(engine)
        artefact = store.artefact(source.resolve("tiny"), recipe)
        options = ServeOptions(
            port=0,
            users=2,
            context_tokens=CONTEXT_TOKENS,
            eager=True,
            api_key_file=folder / "key",
        )
        prepared = prepare(engine, recipe, artefact, options)
        log = folder / "server.log"
        with running(engine, artefact, prepared.spec, prepared.flags, log=log) as server:
            yield Served(engine=engine, server=server)

    def test_models_are_listed(self, served):
        assert [model.id for model in served.client().models.list().data] == [
            served.server.served_name
        ]

    def test_completion_of_exact_length_with_usage(self, served):
        answer = served.client().completions.create(
            model=served.server.served_name,
            prompt=PROMPT,
            max_tokens=24,
            temperature=0,
            extra_body=served.pinned(24),
        )
        assert answer.choices[0].text
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.completion_tokens == 24
        assert answer.usage.prompt_tokens > 0

    def test_stream_is_the_same_text_in_pieces(self, served):
        asked = {
            "model": served.server.served_name,
            "prompt": PROMPT,
            "max_tokens": 24,
            "temperature": 0,
            "extra_body": served.pinned(24),
        }
        whole = served.client().completions.create(**asked).choices[0].text
        pieces = [
            chunk.choices[0].text
            for chunk in served.client().completions.create(**asked, stream=True)
            if chunk.choices
        ]
        assert "".join(pieces) == whole
        assert len(pieces) > 1

    def test_chat(self, served):
        answer = served.client().chat.completions.create(
            model=served.server.served_name, messages=CHAT, max_tokens=8, temperature=0
        )
        assert answer.choices[0].message.role == "assistant"
        assert answer.usage.completion_tokens <= 8

    def test_chat_stream_with_usage(self, served):
        asked = {"stream_options": {"include_usage": True}}
        if served.engine.metrics_path is None:
            asked = {}  # llama-cpp-python streams no usage
        chunks = list(
            served.client().chat.completions.create(
                model=served.server.served_name,
                messages=CHAT,
                max_tokens=8,
                temperature=0,
                stream=True,
                extra_body=served.pinned(8),
                **asked,
            )
        )
        assert any(chunk.choices and chunk.choices[0].delta.content for chunk in chunks)
        reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
        assert [reason for reason in reasons if reason] == ["length"]
        usages = [chunk.usage for chunk in chunks if chunk.usage]
        assert not asked or usages[-1].completion_tokens == 8

    def test_many_at_once_from_the_async_client(self, served):
        async def together():
            client = openai.AsyncOpenAI(
                base_url=served.server.base_url, api_key=KEY, max_retries=0, timeout=120
            )

            async def one(n):
                text = ""
                stream = await client.completions.create(
                    model=served.server.served_name,
                    prompt=f"# {n}\n",
                    max_tokens=16,
                    temperature=0,
                    stream=True,
                    extra_body=served.pinned(16),
                )
                async for chunk in stream:
                    text += chunk.choices[0].text if chunk.choices else ""
                return text

            async with client:
                return await asyncio.gather(*map(one, range(4)))

        assert all(asyncio.run(together()))

    def test_logprobs(self, served):
        answer = served.client().chat.completions.create(
            model=served.server.served_name,
            messages=CHAT,
            max_tokens=4,
            temperature=0,
            logprobs=True,
            top_logprobs=2,
            extra_body=served.pinned(4),
        )
        scored = answer.choices[0].logprobs.content
        assert len(scored) == 4
        assert all(token.logprob <= 0 for token in scored)
        completion = served.client().completions.create(
            model=served.server.served_name, prompt=PROMPT, max_tokens=4, logprobs=1
        )
        assert completion.choices[0].logprobs is not None

    def test_a_wrong_model_is_refused_or_the_answer_names_the_right_one(self, served):
        try:
            answer = served.client().completions.create(
                model="no-such-model", prompt=PROMPT, max_tokens=2
            )
        except (openai.NotFoundError, openai.BadRequestError):
            return
        assert served.engine.name != "vllm"
        assert answer.model in (served.server.served_name, "no-such-model")

    def test_a_prompt_beyond_the_context_is_refused(self, served):
        with pytest.raises((openai.BadRequestError, openai.InternalServerError)) as caught:
            served.client().completions.create(
                model=served.server.served_name, prompt="word " * 2000, max_tokens=4
            )
        assert caught.value.status_code == 400 or served.engine.metrics_path is None
        assert served.server.alive()

    def test_a_wrong_key_is_refused(self, served):
        with pytest.raises(openai.AuthenticationError):
            served.client(key="wrong").completions.create(
                model=served.server.served_name, prompt=PROMPT, max_tokens=1
            )

    def test_the_log_names_kernels(self, served):
        assert served.engine.kernels(served.server.log.read_text())

    def test_the_key_is_on_no_command_line(self, served):
        assert KEY not in " ".join(served.server.command.argv)
        assert KEY not in "".join(served.server.command.env.values())
