"""From log-probabilities to right or wrong, whoever computed them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from quantswarm.bench.quality.tasks.item import Ids, Item, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The last tokens of a sequence: log-probability of each in nats, given all before it, and
    whether no other token was likelier."""

    logprobs: tuple[float, ...]
    likeliest: tuple[bool, ...]

    @property
    def total(self) -> float:
        """Of the tail as a whole."""
        return sum(self.logprobs)


class Scorer(Protocol):
    """Tells log-probabilities of given tokens: an endpoint that echoes, or logits in process."""

    def tails(self, sequences: Sequence[tuple[Ids, Ids]]) -> list[Tail]:
        """For each (context, option) the tail that the option is."""


def outcomes(items: Sequence[Item], scorer: Scorer) -> list[Outcome]:
    """Of each item, in order."""
    asked = [(item.context.ids, option.ids) for item in items for option in item.options]
    told = iter(scorer.tails(asked))
    return [outcome(item, [next(told) for _ in item.options]) for item in items]


def outcome(item: Item, tails: Sequence[Tail]) -> Outcome:
    """A completion is right when each token is the likeliest; a choice when the right option has
    the highest log-probability, and is alone with it."""
    if len(tails) == 1:
        return Outcome(id=item.id, right=all(tails[0].likeliest), score=tails[0].total)
    totals = [tail.total for tail in tails]
    by_length = [
        total / len(option.text) for total, option in zip(totals, item.options, strict=True)
    ]
    margin = margin_of(totals, item.answer)
    return Outcome(
        id=item.id,
        right=margin > 0,
        score=margin,
        right_by_length=margin_of(by_length, item.answer) > 0,
    )


def margin_of(scores: Sequence[float], answer: int) -> float:
    """By how much the right one is ahead of the best wrong one."""
    return scores[answer] - max(one for at, one in enumerate(scores) if at != answer)
