"""The whole course of one response: a plan turned into steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from quantswarm.engines.scripted import whole
from quantswarm.engines.scripted.ask import Refusal
from quantswarm.engines.scripted.chunks import Renderer
from quantswarm.engines.scripted.events import events
from quantswarm.engines.scripted.fault import Fault
from quantswarm.engines.scripted.faulty import dripped, with_fault
from quantswarm.engines.scripted.plan import Plan
from quantswarm.engines.scripted.segments import segments
from quantswarm.engines.scripted.step import END, FREEZE, Step

_KINDS = {401: "AuthenticationError", 429: "RateLimitError", 503: "ServiceUnavailableError"}
PAGE = b"<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>"


def head_of(
    status: int,
    content_type: str,
    length: int | None,
    *,
    request_id: str | None = None,
    close: bool = False,
) -> bytes:
    """A response's head; `length` None: chunks follow."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase if _is_known(status) else 'Error'}"]
    lines.append(f"content-type: {content_type}")
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    if length is None:
        lines.append("cache-control: no-cache")
    if request_id is not None:
        lines.append(f"x-request-id: {request_id}")
    if status == 429:
        lines.append("retry-after: 1")
    lines.append(f"connection: {'close' if close else 'keep-alive'}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _is_known(status: int) -> bool:
    return any(known == status for known in HTTPStatus)


def response(
    status: int, document: Any, *, request_id: str | None = None, close: bool = False
) -> bytes:
    """A whole response with a JSON body."""
    body = json.dumps(document).encode()
    kind = "application/json"
    return head_of(status, kind, len(body), request_id=request_id, close=close) + body


def script(plan: Plan, *, close: bool) -> Iterator[Step]:
    """The steps of a plan, drawn one by one as they are needed; the last one has an `act`."""
    fault = plan.fault
    if fault is not None and not fault.is_midway:
        return _instead(plan, fault, close)
    steps = _streamed(plan, close) if plan.ask.stream else _in_one(plan, close)
    return dripped(steps, fault)


def _instead(plan: Plan, fault: Fault, close: bool) -> Iterator[Step]:
    """Faults that come in the place of an answer, at once."""
    if fault.status is not None:
        kind = _KINDS.get(fault.status, "InternalServerError")
        refusal = Refusal(fault.status, "refused on purpose", kind, fault.status)
        data = response(fault.status, refusal.document(), request_id=plan.request_id, close=close)
        yield Step(plan.received_ns, data, act=END)
    elif fault.kind == "html":
        head = head_of(200, "text/html", len(PAGE), request_id=plan.request_id, close=close)
        yield Step(plan.received_ns, head + PAGE, act=END)
    else:
        yield Step(plan.received_ns, b"", act="hold")


def _streamed(plan: Plan, close: bool) -> Iterator[Step]:
    head = head_of(
        200, "text/event-stream; charset=utf-8", None, request_id=plan.request_id, close=close
    )
    renderer = Renderer(plan.ask, plan.request_id, plan.ask.prompt_tokens, plan.created_s)
    course = with_fault(events(plan, renderer), plan.fault, renderer)
    return segments(course, plan.ask.behaviour.shape, head, plan.received_ns)


def _in_one(plan: Plan, close: bool) -> Iterator[Step]:
    """An answer that is not streamed, due when its last token is."""
    fault, due_ns = plan.fault, plan.last_ns()
    kind = fault.kind if fault else None
    if fault is not None and kind in ("reset", "close", "exit"):
        yield Step(due_ns, b"", act=kind)
        return
    if fault is not None and kind == "stall":
        if fault.for_ns is None:
            yield Step(due_ns, b"", act="hold")
            return
        due_ns += fault.for_ns
    if fault is not None and kind == FREEZE:
        yield Step(due_ns, b"", act=FREEZE, for_ns=fault.for_ns or 0)
    if kind == "error-event":
        refusal = Refusal(500, "the engine failed on purpose", "InternalServerError", 500)
        data = response(500, refusal.document(), request_id=plan.request_id, close=close)
        yield Step(due_ns, data, act=END)
        return
    yield _body_step(plan, due_ns, kind, close)


def _body_step(plan: Plan, due_ns: int, kind: str | None, close: bool) -> Step:
    """The body; half of it when malformed, half of what its head says when truncated."""
    document = whole.document(
        plan.ask, plan.request_id, plan.created_s, plan.token_ids(), plan.finish
    )
    body = json.dumps(document).encode()
    sent = body[: len(body) // 2] if kind in ("malformed", "truncated") else body
    said = len(sent) if kind == "malformed" else len(body)
    head = head_of(200, "application/json", said, request_id=plan.request_id, close=close)
    if kind == "truncated":
        return Step(due_ns, head + sent, act="close")
    return Step(due_ns, head + sent, counts=(plan.tokens,) if plan.tokens else (), act=END)
