"""The endpoints, and what happens to the whole process on purpose."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from quantswarm.engines.scripted.ask import (
    CHAT,
    COMPLETIONS,
    Refusal,
    Served,
    bad_request,
    read_ask,
    read_json,
)
from quantswarm.engines.scripted.clockwork import Clockwork, Run
from quantswarm.engines.scripted.connection import Connection
from quantswarm.engines.scripted.exposition import Exposition
from quantswarm.engines.scripted.http_request import Request
from quantswarm.engines.scripted.ledger import Entry, Ledger
from quantswarm.engines.scripted.plan import Planner
from quantswarm.engines.scripted.script import head_of, response, script
from quantswarm.engines.scripted.step import CUT, END
from quantswarm.engines.scripted.whole import prompt_ids

EXIT_CODE = 3
"""Of a process that a fault ended."""


class App:
    """Answers requests; `api_key` None: everybody may ask."""

    def __init__(
        self, served: Served, clockwork: Clockwork, ledger: Ledger, api_key: str | None = None
    ) -> None:
        self._served = served
        self._clockwork = clockwork
        self._ledger = ledger
        self._api_key = api_key
        self._planner = Planner()
        self._exposition = Exposition(served.name, ledger, clockwork)
        self._created_s = int(time.time())
        self._gets: dict[str, Callable[[], tuple[str, str]]] = {
            "/health": lambda: ("text/plain", ""),
            "/metrics": lambda: ("text/plain; version=0.0.4", self._exposition.text()),
            "/ledger": lambda: ("application/jsonl", "".join(self._ledger.lines())),
        }

    def handle(self, connection: Connection, request: Request, received_ns: int) -> None:
        """One request, which is answered or begun before this returns."""
        try:
            self._check_key(request)
            self._route(connection, request, received_ns)
        except Refusal as refusal:
            entry = Entry(_id_of(request))
            self._ledger.end(entry, "refused", received_ns, refusal.status)
            data = response(
                refusal.status,
                refusal.document(),
                request_id=entry.request_id,
                close=request.wants_close,
            )
            connection.respond(data, close=request.wants_close)

    def ended(self, run: Run, act: str | None) -> None:
        """Write the outcome into the ledger."""
        outcome = "gone" if act is None else "cut" if act in CUT else run.entry.good_or_failed()
        fault = run.entry.plan.fault if run.entry.plan else None
        status = fault.status if fault and act == END else None
        self._ledger.end(run.entry, outcome, time.perf_counter_ns(), status)

    def tidy(self) -> bool:
        """A little of what can wait: call it in quiet moments until it returns False."""
        counted = self._exposition.fold_one()
        return self._ledger.write(most=1) or counted

    def freeze(self, for_ns: int) -> None:
        """SIGSTOP; a shell that was started first sends SIGCONT."""
        wake = f"sleep {for_ns / 1e9:.6f}; kill -CONT {os.getpid()}"
        subprocess.Popen(["/bin/sh", "-c", wake], stdin=subprocess.DEVNULL)
        os.kill(os.getpid(), signal.SIGSTOP)

    def exit(self) -> None:
        """Die as a crashed engine does, but with the ledger on disk."""
        self._ledger.write()
        print("exit on purpose, by a fault", file=sys.stderr, flush=True)
        os._exit(EXIT_CODE)

    def _check_key(self, request: Request) -> None:
        """Only `/v1` is behind the key."""
        if self._api_key is None or not request.path.startswith("/v1"):
            return
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(given.encode(), self._api_key.encode()):
            raise Refusal(401, "wrong API key", "AuthenticationError", "invalid_api_key")

    def _route(self, connection: Connection, request: Request, received_ns: int) -> None:
        api = _APIS.get(request.path)
        if api is not None:
            _only(request, "POST")
            self._generate(api, connection, request, received_ns)
            return
        kind, text = self._plain(request)
        body = text.encode()
        head = head_of(200, kind, len(body), close=request.wants_close)
        connection.respond(head + body, close=request.wants_close)

    def _plain(self, request: Request) -> tuple[str, str]:
        """Content type and body of everything that is answered at once."""
        if request.path in self._gets:
            _only(request, "GET")
            return self._gets[request.path]()
        if request.path == "/tokenize":
            _only(request, "POST")
            return "application/json", json.dumps(self._tokenize(request.body))
        if request.path == "/v1/models" or request.path.startswith("/v1/models/"):
            _only(request, "GET")
            return "application/json", json.dumps(self._models(request.path))
        raise Refusal(404, f"there is no {request.path}", "NotFoundError", 404)

    def _generate(
        self, api: str, connection: Connection, request: Request, received_ns: int
    ) -> None:
        ask = read_ask(api, request.body, self._served)
        plan = self._planner.plan(
            ask, request_id=_id_of(request), received_ns=received_ns, created_s=int(time.time())
        )
        entry = Entry(plan.request_id, plan)
        self._ledger.open(entry)
        run = Run(connection, entry, script(plan, close=request.wants_close))
        closes = ask.stream and ask.behaviour.shape.close == "yes"
        connection.begin(run, close=closes or request.wants_close)
        self._clockwork.start(run)

    def _models(self, path: str) -> dict[str, Any]:
        card = {
            "id": self._served.name,
            "object": "model",
            "created": self._created_s,
            "owned_by": "quantswarm",
            "max_model_len": self._served.context_tokens,
        }
        if path == "/v1/models":
            return {"object": "list", "data": [card]}
        if path != f"/v1/models/{self._served.name}":
            raise Refusal(404, f"no model {path[11:]!r}", "NotFoundError", "model_not_found")
        return card

    def _tokenize(self, body: bytes) -> dict[str, Any]:
        """vLLM's field `prompt`, or llama.cpp's `content`."""
        raw = read_json(body)
        text = raw.get("prompt", raw.get("content"))
        if not isinstance(text, str):
            raise bad_request("give the text as prompt, or as content")
        ids = prompt_ids(text)
        most = self._served.context_tokens
        return {"tokens": ids, "count": len(ids), "max_model_len": most}


_APIS = {"/v1/completions": COMPLETIONS, "/v1/chat/completions": CHAT}


def _id_of(request: Request) -> str:
    """The client's own id, if it is short and plain."""
    given = request.headers.get("x-request-id", "")
    return given if given.isprintable() and 0 < len(given) <= 200 else secrets.token_hex(12)


def _only(request: Request, method: str) -> None:
    if request.method != method:
        raise Refusal(405, f"{request.path} takes {method} only", "BadRequestError", 405)
