"""The HTTP side: routes, keys, errors; it hands jobs to the generating thread and streams back."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from quantswarm.engines.onnx_serve.answers import DONE, Documents, Piece, event
from quantswarm.engines.onnx_serve.counts import Counts
from quantswarm.engines.onnx_serve.fields import Ask, Refused, parsed
from quantswarm.engines.onnx_serve.jobs import Job
from quantswarm.engines.onnx_serve.model import Loaded
from quantswarm.engines.onnx_serve.queueing import Waiting
from quantswarm.engines.onnx_serve.text import Decoder, Stops


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The model, its public name, the room of one request, and the key that clients must give."""

    loaded: Loaded
    name: str
    context_tokens: int
    key: str | None
    alive: Callable[[], bool]


def app(served: Served, waiting: Waiting, counts: Counts) -> Starlette:
    """The ASGI application."""

    async def health(_request: Request) -> Response:
        return Response(status_code=200 if served.alive() else 503)

    async def metrics(_request: Request) -> Response:
        return PlainTextResponse(counts.exposition())

    async def models(request: Request) -> Response:
        _require_key(request, served.key)
        one = {"id": served.name, "object": "model", "created": 0, "owned_by": "quantswarm"}
        facts = {"max_model_len": served.context_tokens}
        return JSONResponse({"object": "list", "data": [{**one, **facts}]})

    async def completions(request: Request) -> Response:
        return await _generated(request, served, waiting, chat=False)

    async def chat(request: Request) -> Response:
        return await _generated(request, served, waiting, chat=True)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/metrics", metrics),
            Route("/v1/models", models),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/chat/completions", chat, methods=["POST"]),
        ],
        exception_handlers={Refused: _refused, HTTPException: _no_route},
    )


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(error.document(), status_code=error.status)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = Refused(f"{request.method} {request.url.path}: {error.detail}", status=error.status_code)
    return JSONResponse(said.document(), status_code=error.status_code)


def _require_key(request: Request, key: str | None) -> None:
    given = request.headers.get("authorization", "")
    if key is not None and not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
        raise Refused("The API key is missing or wrong.", status=401, code="invalid_api_key")


async def _generated(request: Request, served: Served, waiting: Waiting, *, chat: bool) -> Response:
    _require_key(request, served.key)
    ask = parsed(await request.body(), served.name, chat=chat)
    ids = token_ids(ask, served.loaded)
    most = room(ask, len(ids), served.context_tokens)
    job = Job(ask=ask, ids=ids, most_tokens=most, loop=asyncio.get_running_loop())
    documents = Documents(ask, served.name, len(ids), served.loaded.tokenizer)
    if not (served.alive() and waiting.add(job)):
        raise Refused("The server generates no more; its log says why.", status=503)
    told = _pieces(job, served.loaded.tokenizer)
    if ask.stream:
        return _Stream(job, _events(told, documents))
    return await _whole(request, job, told, documents)


def token_ids(ask: Ask, loaded: Loaded) -> tuple[int, ...]:
    """The prompt's ids; `Refused` for none, and for ids that the model has not."""
    if ask.chat:
        try:
            text = loaded.templates.apply_chat_template(
                json.dumps(ask.messages), add_generation_prompt=True
            )
        except Exception as error:  # whatever the library raises for a template
            raise Refused(f"The chat template cannot be applied: {error}") from None
        ids = tuple(loaded.tokenizer.encode(text, add_special_tokens=False).ids)
    elif isinstance(ask.prompt, str):
        ids = tuple(loaded.tokenizer.encode(ask.prompt).ids)
    else:
        ids = ask.prompt
    if not ids:
        raise Refused("The prompt has no tokens.", param="prompt")
    wrong = next((one for one in ids if not 0 <= one < loaded.vocabulary), None)
    if wrong is not None:
        raise Refused(
            f"Token id {wrong} is not in the vocabulary of {loaded.vocabulary} tokens.",
            param="prompt",
        )
    return ids


def room(ask: Ask, prompt_tokens: int, context_tokens: int) -> int:
    """Tokens that the answer may have; `Refused` where they do not fit the context."""
    wanted = (1 if ask.chat else 0) if ask.most_tokens is None else ask.most_tokens
    if prompt_tokens + wanted > context_tokens:
        raise Refused(
            f"This server's context is {context_tokens} tokens; {prompt_tokens + wanted} were asked"
            f" for: {prompt_tokens} of the prompt and {wanted} of the answer.",
            param="messages" if ask.chat else "prompt",
            code="context_length_exceeded",
        )
    return context_tokens - prompt_tokens if ask.most_tokens is None else wanted


async def _pieces(job: Job, tokenizer: Any) -> AsyncIterator[Piece]:
    """The answer as it comes; `Refused` (500) where computing it failed."""
    decoder, stops, tokens = Decoder(tokenizer), Stops(job.ask.stop), 0
    while True:
        step = await job.steps.get()
        if step.reason == "error":
            raise Refused(step.error, status=500)
        echoed = tokenizer.decode(list(job.ids)) if step.prompt else ""
        text, reason = "", step.reason
        if step.token is not None:
            tokens += 1
            text = stops.passed(decoder.piece(step.token))
        if stops.met:
            job.cancel()
            reason = "stop"
        elif reason is not None:
            text += stops.rest()
        scored = (*step.prompt, *((step.scored,) if step.scored is not None else ()))
        yield Piece(text=echoed + text, tokens=tokens, reason=reason, scored=scored)
        if reason is not None:
            return


class _Stream(StreamingResponse):
    """Events; a client that goes away, before the first of them even, frees its place."""

    def __init__(self, job: Job, events: AsyncIterator[bytes]) -> None:
        headers = {"Cache-Control": "no-cache"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the class above does it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._job.cancel()


async def _events(told: AsyncIterator[Piece], documents: Documents) -> AsyncIterator[bytes]:
    """A stream's bytes."""
    tokens = 0
    try:
        async for piece in told:
            tokens = piece.tokens
            yield documents.chunk(piece)
        yield documents.last(tokens)
        yield DONE
    except Refused as error:
        yield event(error.document())
        yield DONE


async def _whole(
    request: Request, job: Job, told: AsyncIterator[Piece], documents: Documents
) -> Response:
    async def collected() -> list[Piece]:
        return [piece async for piece in told]

    answer = asyncio.ensure_future(collected())
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            return Response(status_code=499)  # nobody reads it
        return JSONResponse(documents.whole(answer.result()))
    finally:
        job.cancel()
        for task in (answer, gone):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Refused):
                await task


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
