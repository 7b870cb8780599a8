"""What the users of one process share: prompts out, captures in, and when it is over."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass

from quantswarm.bench.load.capture import Capture, Order
from quantswarm.bench.load.link import Endpoint, Link
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.prompts import PromptPool
from quantswarm.bench.load.shaping import Shaper
from quantswarm.bench.load.spool import SpoolWriter

FAILURE_PAUSE_S = 0.1
"""A user whose request failed waits this long: a dead server must not be asked thousands of times
a second."""
_TAIL_BYTES = 4096
_COMPLETION = re.compile(rb'"completion_tokens"\s*:\s*(\d+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """A quick look at a capture, for the progress line and Locust's page; records judge again."""

    failure: str | None
    tokens: int
    size_bytes: int


def glance(capture: Capture) -> Glance:
    """Status, terminator, error event and token count by searching bytes: no JSON is parsed."""
    raw = b"".join(capture.segments)
    tail = raw[-_TAIL_BYTES:]
    counts = _COMPLETION.findall(tail)
    events = max(0, raw.count(b"data:") - 1)
    return Glance(
        failure=_failure(capture, raw, tail),
        tokens=int(counts[-1]) if counts else events,
        size_bytes=len(raw),
    )


def _failure(capture: Capture, raw: bytes, tail: bytes) -> str | None:
    status = raw[9:12]
    if raw and status != b"200":
        return f"HTTP {status.decode('latin-1')}"
    if b'data: {"error"' in raw:
        return "error_event"
    if capture.failure is not None:
        return capture.failure
    return None if b"[DONE]" in tail else "truncated"


class Desk:
    """Orders go out until `closes_ns`, and for each of them one capture comes back to the spool."""

    def __init__(
        self, plan: SwarmPlan, endpoint: Endpoint, pool: PromptPool, spool: SpoolWriter
    ) -> None:
        self.plan = plan
        self.pool = pool
        self.closes_ns: int | None = None
        self.fault: OSError | None = None
        self.enrolled = 0
        self.started = self.finished = self.failures = self.tokens = 0
        self.stamps = array("q")
        self._closed = False
        self._endpoint = endpoint
        self._shaper = Shaper(plan, endpoint)
        self._spool = spool

    @property
    def in_flight(self) -> int:
        """Orders whose capture has not come back."""
        return self.started - self.finished

    def enrol(self) -> int:
        """The number of a new user."""
        number, self.enrolled = self.enrolled, self.enrolled + 1
        return number

    def link(self) -> Link:
        """A user's own connection."""
        return Link(self._endpoint, keeps_alive=self.plan.keeps_alive)

    def stagger_s(self, user: int) -> float:
        """When a planned user first asks: spread over half the warm-up, so none march in step."""
        planned = self.plan.users
        return user * self.plan.warmup / 2 / planned if user < planned else 0.0

    def order(self, user: int, intended_ns: int) -> Order | None:
        """The next request of a user who became free at `intended_ns`; None once it is over."""
        if self._closed or (self.closes_ns is not None and intended_ns >= self.closes_ns):
            return None
        prompt = self.pool.take()
        self.started += 1
        return Order(
            uid=prompt.uid,
            user=user,
            intended_ns=intended_ns,
            payload=self._shaper.payload(prompt),
            expected_prompt_tokens=self._shaper.expected_prompt_tokens(prompt),
            expected_output_tokens=self.plan.scenario.output_tokens,
        )

    def close(self) -> None:
        """No order from now on."""
        self._closed = True

    def file(self, capture: Capture) -> Glance:
        """Keep a capture, whole, before anything is counted.

        Does not raise, as it is called while a user is being stopped: a disk that takes no more is
        remembered as `fault`, and nothing is ordered after that.
        """
        try:
            self._spool.add(capture)
        except OSError as error:
            self.fault = self.fault or error
            self.close()
        self.stamps.extend(capture.stamps)
        seen = glance(capture)
        self.finished += 1
        self.failures += seen.failure is not None
        self.tokens += seen.tokens
        return seen
