"""The web application of `transformers serve`, less what does not belong to one served model."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.server import build_server
from transformers.cli.serving.utils import CBWorkerDeadError

from quantswarm.engines.transformers_serve.handlers import Endpoint, Serving

KEPT = frozenset({"/v1/completions", "/v1/chat/completions", "/v1/models", "/health"})
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


class OneModel(ModelManager):  # type: ignore[misc]  # transformers is not analysed
    """Knows the one model that is there, and loads no other."""

    def __init__(self, name: str, context_tokens: int) -> None:
        self.force_model = name
        self._context_tokens = context_tokens

    def get_gen_models(self) -> list[dict[str, Any]]:
        """The served name alone; its own list is that of the Hugging Face cache."""
        entry = {"id": self.force_model, "object": "model", "created": 0, "owned_by": "quantswarm"}
        return [{**entry, "max_model_len": self._context_tokens}]

    def shutdown(self) -> None:
        """The model goes with the process."""


class Locked:
    """Lets nobody under /v1 who has not the key."""

    def __init__(self, app: Any, key: str) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1"):
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                refused = JSONResponse(error("wrong or missing API key", 401), 401)
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)


def error(message: str, status: int) -> dict[str, Any]:
    """OpenAI's error object."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def application(serving: Serving, context_tokens: int) -> FastAPI:
    """Its own routes and handlers, errors as OpenAI's objects."""
    models = OneModel(serving.name, context_tokens)
    app: FastAPI = build_server(
        models,
        Endpoint(models, serving, chat=True),
        completion_handler=Endpoint(models, serving, chat=False),
        response_handler=None,
        transcription_handler=None,
        generation_state=serving,
    )
    app.router.routes[:] = [one for one in app.router.routes if getattr(one, "path", "") in KEPT]
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(CBWorkerDeadError, _dead)
    app.add_exception_handler(Exception, _broken)
    return app


async def _refused(_request: Request, problem: Any) -> JSONResponse:
    return JSONResponse(error(str(problem.detail), problem.status_code), problem.status_code)


async def _unreadable(_request: Request, problem: Any) -> JSONResponse:
    found = json.dumps([one.get("msg") for one in problem.errors()])
    return JSONResponse(error(f"the body is not a JSON object: {found}", 400), 400)


async def _dead(_request: Request, problem: Exception) -> JSONResponse:
    return JSONResponse(error(str(problem), 503), 503)


async def _broken(_request: Request, problem: Exception) -> JSONResponse:
    return JSONResponse(error(f"{type(problem).__name__}: {problem}", 500), 500)
