"""A stream's events, one after the other, in the shape that the behaviour asks for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from quantswarm.engines.scripted.ask import CHAT
from quantswarm.engines.scripted.behaviour import Shape
from quantswarm.engines.scripted.chunks import Piece, Renderer
from quantswarm.engines.scripted.plan import Plan
from quantswarm.engines.scripted.step import Event


def events(plan: Plan, renderer: Renderer) -> Iterator[Event]:
    """What a server without faults sends, each event when its last token is due."""
    shape = plan.ask.behaviour.shape
    if plan.ask.api == CHAT and shape.role == "early":
        yield Event(plan.received_ns, renderer.role(), flush=True)
    due_ns = plan.started_ns
    for number, (due_ns, piece) in enumerate(_pieces(plan)):
        yield Event(due_ns, _content(plan, renderer, piece, number), tokens=len(piece.tokens))
    yield from _tail(plan, renderer, due_ns)


def _pieces(plan: Plan) -> Iterator[tuple[int, Piece]]:
    """Tokens by the event, with the instant of each event."""
    ids, instants = plan.token_ids(), plan.instants()
    size = plan.ask.behaviour.shape.per_event
    merged = plan.ask.behaviour.shape.finish == "merged"
    for first in range(0, plan.tokens, size):
        tokens = ids[first : first + size]
        so_far = first + len(tokens)
        due_ns = next(islice(instants, len(tokens) - 1, None))
        finish = plan.finish if merged and so_far == plan.tokens else None
        yield due_ns, Piece(tokens=tokens, so_far=so_far, finish=finish)


def _content(plan: Plan, renderer: Renderer, piece: Piece, number: int) -> bytes:
    shape = plan.ask.behaviour.shape
    running = _is_continuous(plan)
    if number == 0 and plan.ask.api == CHAT and shape.role == "merged":
        data = renderer.with_role(piece, usage=running)
    elif piece.so_far == plan.tokens and shape.usage == "merged":
        data = renderer.content(
            piece, last=renderer.merged_usage(plan.tokens, _timings(plan, shape))
        )
    else:
        data = renderer.content(piece, usage=running)
    if number == 0 and plan.ask.api == CHAT and shape.role == "first":
        data = renderer.role() + data
    if shape.comments and number % shape.comments == 0:
        data = renderer.comment() + data
    return data


def _is_continuous(plan: Plan) -> bool:
    usage = plan.ask.behaviour.shape.usage
    asked = plan.ask.include_usage and plan.ask.continuous_usage
    return usage == "continuous" or (usage == "asked" and asked)


def _tail(plan: Plan, renderer: Renderer, due_ns: int) -> Iterator[Event]:
    shape = plan.ask.behaviour.shape
    if shape.finish == "apart" or plan.tokens == 0:
        yield Event(due_ns, renderer.finish(plan.finish))
    if shape.usage in ("final", "continuous", "wrong") or (
        shape.usage == "asked" and plan.ask.include_usage
    ):
        wrong = shape.usage == "wrong"
        more = _timings(plan, shape)
        yield Event(due_ns, renderer.usage(plan.tokens, wrong=wrong, more=more))
    if shape.done == "yes":
        yield Event(due_ns, renderer.done())


def _timings(plan: Plan, shape: Shape) -> dict[str, Any]:
    """llama.cpp's own account of an answer, by the schedule."""
    if shape.timings == "no":
        return {}
    prompt_ms = plan.pace.ttft_ns() / 1e6
    predicted_ms = (plan.last_ns() - plan.started_ns) / 1e6 - prompt_ms
    return {
        "timings": {
            "cache_n": 0,
            "prompt_n": plan.ask.prompt_tokens,
            "prompt_ms": prompt_ms,
            "predicted_n": plan.tokens,
            "predicted_ms": predicted_ms,
        }
    }
