"""All that is decided about an answer the moment its request has arrived."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quantswarm.engines.scripted import vocabulary
from quantswarm.engines.scripted.ask import Ask
from quantswarm.engines.scripted.fault import Fault, chosen
from quantswarm.engines.scripted.schedule import Pace, SlotQueue


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`started_ns` is later than `received_ns` where the request had to queue for a slot."""

    ask: Ask
    request_id: str
    index: int
    received_ns: int
    started_ns: int
    created_s: int
    tokens: int
    finish: str
    fault: Fault | None
    pace: Pace

    def instants(self) -> Iterator[int]:
        """When token 0, 1, 2 … is due."""
        return self.pace.instants(self.started_ns)

    def last_ns(self) -> int:
        """When the last token is due."""
        return self.pace.last_ns(self.started_ns, self.tokens)

    def token_ids(self) -> tuple[int, ...]:
        """The answer."""
        wide = self.ask.behaviour.shape.text == "utf8" or self.ask.behaviour.shape.split == "utf8"
        return tuple(vocabulary.answer_id(number, wide) for number in range(self.tokens))


class Planner:
    """Counts requests and holds the queues, by the model's name."""

    def __init__(self) -> None:
        self._requests: dict[str, int] = {}
        self._queues: dict[str, SlotQueue] = {}

    def plan(self, ask: Ask, *, request_id: str, received_ns: int, created_s: int) -> Plan:
        """Call in order of arrival: index and queue depend on it."""
        index = self._requests.get(ask.model, 0)
        self._requests[ask.model] = index + 1
        behaviour = ask.behaviour
        pace = Pace(behaviour=behaviour, index=index, prompt_tokens=ask.prompt_tokens)
        tokens, finish = ask.length(pace.natural_tokens())
        fault = chosen(behaviour.faults, behaviour.seed, index)
        started_ns = received_ns
        if behaviour.slots and (fault is None or fault.is_midway):
            queue = self._queues.setdefault(ask.model, SlotQueue(behaviour.slots))
            started_ns = queue.admit(received_ns, lambda start: pace.last_ns(start, tokens))
        return Plan(
            ask=ask,
            request_id=request_id,
            index=index,
            received_ns=received_ns,
            started_ns=started_ns,
            created_s=created_s,
            tokens=tokens,
            finish=finish,
            fault=fault,
            pace=pace,
        )
