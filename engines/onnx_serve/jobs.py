"""What passes between the HTTP side and the generating thread: jobs one way, tokens the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from quantswarm.engines.onnx_serve.fields import Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A token's log-probability and those of the likeliest at its place, by id."""

    token: int
    logprob: float | None
    likeliest: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened to a job. `reason` (stop, length, error) ends it.

    `token` None: it ended without one more (its end token is not shown). `prompt` are the scores
    of the prompt's own tokens, in the first step where they were asked for.
    """

    token: int | None = None
    reason: str | None = None
    scored: Scored | None = None
    prompt: tuple[Scored, ...] = ()
    error: str = ""


STOPPED = Step(reason="error", error="the server is stopping")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A request with its token ids. `most_tokens` fits the context. Any thread may cancel it."""

    ask: Ask
    ids: tuple[int, ...]
    most_tokens: int
    loop: asyncio.AbstractEventLoop
    steps: asyncio.Queue[Step] = field(default_factory=asyncio.Queue)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Its room is free after the step that is being computed."""
        self._cancelled.set()

    def tell(self, step: Step) -> None:
        """From the generating thread; nothing where the HTTP side is gone."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.steps.put_nowait, step)

    @property
    def least_tokens(self) -> int:
        """End tokens are not drawn before so many."""
        least = self.most_tokens if self.ask.ignore_eos else self.ask.least_tokens
        return min(least, self.most_tokens)

    @property
    def alone(self) -> bool:
        """Whether only the one-sequence loop has what is asked for: log-probabilities, a seed."""
        seeded = self.ask.seed is not None and self.ask.temperature > 0
        return self.ask.logprobs is not None or self.ask.echo or seeded
