"""A conversation while it is held: what has been said so far, on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterable

from quantswarm.bench.load.capture import Capture
from quantswarm.bench.load.http1 import ProtocolError, ResponseParser
from quantswarm.bench.load.sse import Event, Splitter
from quantswarm.bench.load.talk import Talk, Turn

Message = dict[str, str]


class Conversation:
    """A talk and how far it has come. Each turn is asked with all that was said before it."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.asked = 0
        self._history: list[Message] = []

    @property
    def more(self) -> bool:
        """Whether a turn is left."""
        return self.asked < len(self.talk.turns)

    @property
    def think_ns(self) -> int:
        """The user's pause between an answer and the next turn."""
        return round(self.talk.think_time_s * 1e9)

    def next(self) -> tuple[Turn, tuple[Message, ...]]:
        """The next turn, and what was said before; it now counts as asked."""
        turn, before = self.talk.turns[self.asked], tuple(self._history)
        self.asked += 1
        if len(self.talk.turns) > 1:
            self._history.append({"role": "user", "content": turn.prompt.text})
        return turn, before

    def heard(self, answer: str) -> None:
        """The server's true answer to the turn just asked."""
        self._history.append({"role": "assistant", "content": answer})


def answer_in(capture: Capture) -> str:
    """The text of a streamed answer, as far as it can be read; what a record says of it is for
    `decode` to find."""
    parser, splitter = ResponseParser(), Splitter()
    words: list[str] = []
    for segment in capture.segments:
        try:
            events = splitter.feed(parser.feed(segment))
        except ProtocolError:
            break
        words.extend(_words(events))
    return "".join(words)


def _words(events: Iterable[Event]) -> Iterable[str]:
    for event in events:
        try:
            choice = json.loads(event.data)["choices"][0]
            word = choice["delta"]["content"] if "delta" in choice else choice["text"]
        except (ValueError, LookupError, TypeError):
            continue
        if isinstance(word, str):
            yield word
