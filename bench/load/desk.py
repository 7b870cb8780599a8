"""What the users of one process share: prompts out, captures in, and when it is over."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass

from quantswarm.bench.load.capture import Capture, Order
from quantswarm.bench.load.conversation import Conversation
from quantswarm.bench.load.link import Endpoint, Link
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.prompts import PromptPool
from quantswarm.bench.load.shaping import Shaper
from quantswarm.bench.load.share import ALONE, Share
from quantswarm.bench.load.spool import SpoolWriter
from quantswarm.bench.load.talk import Talk
from quantswarm.bench.load.tally import Tally
from quantswarm.bench.load.warden import Warden

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
        self,
        plan: SwarmPlan,
        endpoint: Endpoint,
        pool: PromptPool[Talk],
        spool: SpoolWriter,
        share: Share = ALONE,
        tally: Tally | None = None,
    ) -> None:
        self.plan = plan
        self.pool = pool
        self.share = share
        self.opens_ns = 0
        self.closes_ns: int | None = None
        self.fault: OSError | None = None
        self.enrolled = 0
        self.finished = self.failures = self.tokens = 0
        self._tally = tally or Tally()
        self.stamps = array("q")
        self.warden = Warden()
        self._closed = False
        self._endpoint = endpoint
        self._shaper = Shaper(plan, endpoint)
        self._spool = spool
        self._talking: dict[int, Conversation] = {}

    @property
    def started(self) -> int:
        """Orders given out, counted where a kill of this process does not lose it."""
        return self._tally.begun

    @started.setter
    def started(self, orders: int) -> None:
        self._tally.begun = orders

    @property
    def in_flight(self) -> int:
        """Orders whose capture has not come back."""
        return self.started - self.finished

    @property
    def misses(self) -> int:
        """Requests that are lost for their objectives; a closed loop has no plan to miss."""
        return 0

    def enrol(self) -> int:
        """The number of a new user, among those of all processes."""
        number, self.enrolled = self.share.number(self.enrolled), self.enrolled + 1
        return number

    def open_at(self, begin_ns: int) -> None:
        """Set the swarm's start, and the end of its window after it."""
        self.opens_ns = begin_ns
        self.closes_ns = begin_ns + int(self.plan.warmup * 1e9) + int(self.plan.duration * 1e9)

    def link(self) -> Link:
        """A user's own connection."""
        return Link(self._endpoint, keeps_alive=self.plan.keeps_alive)

    def turn_ns(self, user: int) -> int:
        """When a planned user first asks: spread over half the warm-up, so none march in step."""
        planned = self.plan.users
        stagger_s = user * self.plan.warmup / 2 / planned if user < planned else 0.0
        return self.opens_ns + int(stagger_s * 1e9)

    def order(self, user: int, intended_ns: int) -> Order | None:
        """The next request of a user who became free at `intended_ns`; None once it is over."""
        if self._closed or (self.closes_ns is not None and intended_ns >= self.closes_ns):
            return None
        conversation = self._talking.get(user) or self._begun(user, self.pool.take())
        self.started += 1
        return self._turn(conversation, user, intended_ns)

    def unfinished(self, user: int) -> Conversation | None:
        """A user's conversation while it has another turn; a failed turn ends it."""
        return self._talking.get(user)

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
        conversation = self._talking.get(capture.user)
        if conversation is not None and (seen.failure is not None or not conversation.more):
            del self._talking[capture.user]
        return seen

    def _begun(self, user: int, talk: Talk) -> Conversation:
        conversation = Conversation(talk)
        if len(talk.turns) > 1:
            self._talking[user] = conversation
        return conversation

    def _turn(self, conversation: Conversation, user: int, intended_ns: int) -> Order:
        """The next request of a conversation, its bytes ready."""
        turn, history = conversation.next()
        talk, prompt = conversation.talk, turn.prompt
        return Order(
            uid=prompt.uid,
            user=user,
            intended_ns=intended_ns,
            payload=self._shaper.payload(prompt, turn.output_tokens, api=talk.api, history=history),
            expected_prompt_tokens=self._shaper.expected_prompt_tokens(prompt, talk.api),
            expected_output_tokens=turn.output_tokens,
            part=talk.part,
            conversation=talk.uid if talk.is_conversation else None,
            turn=conversation.asked if talk.is_conversation else None,
        )
