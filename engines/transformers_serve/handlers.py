"""The handlers of `transformers serve` for one request each, with what they lack.

Added: log-probabilities and echo, prompts as token ids, exact lengths (`ignore_eos`), running
counts in streams, sampling where a temperature is asked for, `[DONE]` at a stream's end.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator
from typing import Any

import torch
from fastapi import HTTPException
from fastapi.responses import JSONResponse, StreamingResponse
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.chat_completion import (
    TransformersCompletionCreateParamsStreaming as ChatFields,
)
from transformers.cli.serving.completion import CompletionHandler
from transformers.cli.serving.completion import (
    TransformersTextCompletionCreateParams as CompletionFields,
)
from transformers.cli.serving.utils import BaseHandler

from quantswarm.engines.transformers_serve import told
from quantswarm.engines.transformers_serve.asked import Refused, Wish, left, read
from quantswarm.engines.transformers_serve.streams import (
    NO_TOKEN,
    OneByOne,
    Piece,
    Together,
    prompt_scored,
)
from quantswarm.engines.transformers_serve.told import Scored

DONE = "data: [DONE]\n\n"


class Serving:
    """The one model, and the managers that generate with it."""

    def __init__(
        self, name: str, model: Any, tokenizer: Any, one: OneByOne, together: Together | None
    ) -> None:
        self.name, self.model, self.tokenizer = name, model, tokenizer
        self.one, self.together = one, together

    def is_cb_alive(self) -> bool:
        """For `/health`."""
        return self.together is None or bool(self.together.is_alive())


class _State:
    """What a handler takes for the `GenerationState` of the server: that of its request alone.

    Log-probabilities come from `model.generate`, beside a continuous batch too: that tells none.
    """

    _compile = False

    def __init__(self, serving: Serving, wish: Wish) -> None:
        batched = serving.together is not None and not wish.scored
        if batched and wish.shaping:
            raise HTTPException(
                400,
                f"{', '.join(wish.shaping)}: continuous batching has one configuration for all"
                " requests, which is greedy; leave it out, or take continuous_batching=off",
            )
        shared = serving.together if batched else serving.one
        self.batched = batched
        self.manager = shared.of(wish) if shared is not None else None

    def use_continuous_batching(self, _model: Any, _modality: Any) -> bool:
        return self.batched

    def get_manager(self, _model_id: str, use_cb: bool = False) -> Any:
        return self.manager


class _Mended(BaseHandler):  # type: ignore[misc]  # transformers is not analysed
    """What both handlers share; an instance lives for one request."""

    def __init__(self, model_manager: Any, serving: Serving, wish: Wish) -> None:
        super().__init__(model_manager, _State(serving, wish))
        self.serving, self.wish = serving, wish
        self.prompt_tokens = 0

    def _validate_request(self, body: dict[str, Any]) -> None:
        """It was checked by `asked.read`."""

    def _resolve_model(self, body: dict[str, Any]) -> tuple[str, Any, Any]:
        return self.serving.name, self.serving.model, self.serving.tokenizer

    def _build_generation_config(self, body: Any, base: Any, use_cb: bool = False) -> Any:
        """Its own, then the end token, the least length, and whether to sample."""
        config = super()._build_generation_config(body, base, use_cb=use_cb)
        wish = self.wish
        if wish.ignore_eos:
            config.eos_token_id = NO_TOKEN
        elif wish.min_tokens:
            config.min_new_tokens = wish.min_tokens
        if config.pad_token_id is None:
            config.pad_token_id = 0  # of no consequence: nothing is batched with padding
        if (wish.temperature or 0) > 0:
            config.do_sample = True
        return config

    def _text(self, token: int) -> str:
        """A token alone; "token_id:7" where the request wants ids."""
        if self.wish.as_ids:
            return f"token_id:{token}"
        return str(self.serving.tokenizer.decode([token]))

    def _running(self, item: Any) -> dict[str, int] | None:
        if not self.wish.running_usage or not isinstance(item, Piece):
            return None
        return usage(self.prompt_tokens, item.tokens)

    def _told(self, item: Any, form: Any) -> dict[str, Any] | None:
        if not self.wish.scored or not isinstance(item, Piece):
            return None
        found: dict[str, Any] = form(item.scored, self._text)
        return found


def usage(prompt: int, answer: int) -> dict[str, int]:
    """OpenAI's counts."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
    }


def event(document: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(document)}\n\n"


class _Chat(_Mended, ChatCompletionHandler):  # type: ignore[misc]  # transformers is not analysed
    def _streaming(
        self, request_id: Any, model: Any, processor: Any, *rest: Any, **named: Any
    ) -> Any:
        ids = rest[1]["input_ids"]
        self.prompt_tokens = len(ids) if isinstance(ids, list) else int(ids.shape[-1])
        return super()._streaming(request_id, model, processor, *rest, **named)

    def _build_chunk_sse(self, request_id: str = "", content: Any = None, **named: Any) -> str:
        """Its own chunk, with counts and log-probabilities where they are asked for."""
        made: str = super()._build_chunk_sse(request_id, content=content, **named)
        counts, scored = self._running(content), self._told(content, told.chat)
        if counts is None and scored is None:
            return made
        chunk = json.loads(made.removeprefix("data: "))
        if counts is not None:
            chunk["usage"] = counts
        if scored is not None:
            chunk["choices"][0]["logprobs"] = scored
        return event(chunk)

    def _build_completion(self, *args: Any, **named: Any) -> dict[str, Any]:
        made: dict[str, Any] = super()._build_completion(*args, **named)
        if self.wish.scored:
            scored = self.generation_state.manager.scored
            made["choices"][0]["logprobs"] = told.chat(scored, self._text)
        return made


class _Completion(_Mended, CompletionHandler):  # type: ignore[misc]  # as above
    async def handle_request(self, body: dict[str, Any], request_id: str) -> Any:
        """Its own way, for a prompt that may be ids."""
        name, model, tokenizer = self._resolve_model(body)
        batched, ids = self.generation_state.batched, self._ids(body)
        self.prompt_tokens = len(ids)
        inputs: dict[str, Any] = {"input_ids": ids}
        if not batched:
            tensor = torch.tensor([ids], dtype=torch.long, device=model.device)
            inputs = {"input_ids": tensor, "attention_mask": torch.ones_like(tensor)}
        config = self._build_generation_config(body, model.generation_config, use_cb=batched)
        asked = (request_id, model, tokenizer, name, inputs, config)
        manager = self.generation_state.manager
        if body.get("stream"):
            return self._streaming(*asked, manager, body.get("suffix"))
        return await self._answer(asked, manager, ids, body.get("suffix") or "")

    def _ids(self, body: dict[str, Any]) -> list[int]:
        """The prompt's; the vocabulary's size bounds those that came as ids."""
        given = self.wish.prompt_ids
        if given is None:
            ids: list[int] = self.serving.tokenizer(body["prompt"])["input_ids"]
            if not ids:
                raise HTTPException(400, "the prompt has no tokens")
            return ids
        size = self.serving.model.config.get_text_config().vocab_size
        if not all(0 <= one < size for one in given):
            raise HTTPException(400, f"token ids must be between 0 and {size - 1}")
        return list(given)

    async def _answer(self, asked: Any, manager: Any, ids: list[int], suffix: str) -> JSONResponse:
        request_id, model, tokenizer, name, inputs, config = asked
        manager.fit(inputs, config)
        before: list[Scored] = []
        if self.wish.echo and self.wish.scored:
            one = self.serving.one
            before = await one.async_submit(prompt_scored, model, ids, self.wish.top)
        text, made = "", []
        if config.max_new_tokens:
            text, _, made = await manager.generate_non_streaming(
                model, tokenizer, inputs, config, request_id=request_id
            )
        prompt = tokenizer.decode(ids) if self.wish.echo else ""
        scored = [*before, *(manager.scored if self.wish.scored else ())]
        hit = len(made) >= config.max_new_tokens
        choice = {
            "index": 0,
            "text": prompt + text + suffix,
            "logprobs": told.completion(scored, self._text) if self.wish.scored else None,
            "finish_reason": "length" if hit else "stop",
        }
        return JSONResponse(_completion(request_id, name, choice, usage(len(ids), len(made))))

    def _build_chunk_sse(
        self,
        request_id: str,
        model_id: str,
        text: Any = "",
        finish_reason: str | None = None,
        usage: Any = None,
    ) -> str:
        choice = {
            "index": 0,
            "text": str(text),
            "logprobs": self._told(text, told.completion),
            "finish_reason": finish_reason,
        }
        counts = usage.model_dump(exclude_none=True) if usage else self._running(text)
        return event(_completion(request_id, model_id, choice, counts))


def _completion(
    request_id: str, model: str, choice: dict[str, Any], counts: dict[str, int] | None
) -> dict[str, Any]:
    made = {
        "id": request_id,
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
    }
    return made if counts is None else {**made, "usage": counts}


class Endpoint:
    """What the server's routes call: checks a request and gives it a handler of its own."""

    def __init__(self, model_manager: Any, serving: Serving, *, chat: bool) -> None:
        self._model_manager, self._serving, self._chat = model_manager, serving, chat
        self._kind = _Chat if chat else _Completion
        fields = ChatFields if chat else CompletionFields
        self._known: frozenset[str] = fields.__mutable_keys__

    async def handle_request(self, body: dict[str, Any], _request_id: str) -> Any:
        """The answer; `HTTPException` for what cannot be served."""
        try:
            wish = read(body, self._known, self._serving.name, chat=self._chat)
        except Refused as refused:
            raise HTTPException(refused.status, refused.message) from None
        if self._chat and not self._serving.tokenizer.chat_template:
            raise HTTPException(400, "this model has no chat template: use /v1/completions")
        handler = self._kind(self._model_manager, self._serving, wish)
        # Of our own making: a client that uses an id twice would get another request's answer.
        own_id = f"{'chatcmpl' if self._chat else 'cmpl'}-{uuid.uuid4().hex}"
        answer = await handler.handle_request(left(body), own_id)
        if isinstance(answer, StreamingResponse):
            answer.body_iterator = _to_the_end(answer.body_iterator)
        return answer


async def _to_the_end(events: Any) -> AsyncGenerator[str, None]:
    """OpenAI's last event, unless the stream broke off with an error."""
    whole = True
    try:
        async for one in events:
            whole = 'data: {"error"' not in one
            yield one
    finally:
        await events.aclose()
    if whole:
        yield DONE
