"""What request number N will be: its kind and its lengths, before any text is made.

A pure function of scenario, seed and number, so that every variant of a comparison is asked for the
same, however quickly it answers.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass

from quantswarm.bench.load.lengths import Length, drawn
from quantswarm.bench.load.scenario import Scenario

_LOOKED_AT = 64
_UNKNOWN_TOKENS = 64.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A conversation to be: `turns` holds (tokens in, tokens out), None where a data set decides.

    `part` names the component of a mix; `scenario` is that component. `prefix` is the number of
    the shared beginning, None without one.
    """

    number: int
    part: str | None
    scenario: Scenario
    turns: tuple[tuple[int | None, int | None], ...]
    prefix: int | None


def draft_of(scenario: Scenario, *, seed: int, number: int) -> Draft:
    """The draft of that number; a request that is no conversation is one of a single turn."""
    component = _component(scenario, seed, number)
    turns = drawn(component.turns, seed=seed, what="turns", number=number)
    return Draft(
        number=number,
        part=component.name if scenario.mix else None,
        scenario=component,
        turns=tuple(_turn(component, seed, number, turn) for turn in range(turns)),
        prefix=_prefix(component, seed, number),
    )


def usual_tokens(scenario: Scenario, *, seed: int) -> tuple[float, float]:
    """Mean tokens of a conversation's prompts and of its answers, each prompt counted alone; for
    guesses at how many will be held, and at how long it takes to make them."""
    drafts = [draft_of(scenario, seed=seed, number=number) for number in range(_LOOKED_AT)]
    asked = [sum(tokens or _UNKNOWN_TOKENS for tokens, _ in draft.turns) for draft in drafts]
    answered = [sum(tokens or _UNKNOWN_TOKENS for _, tokens in draft.turns) for draft in drafts]
    return statistics.mean(asked), statistics.mean(answered)


def _component(scenario: Scenario, seed: int, number: int) -> Scenario:
    if not scenario.mix:
        return scenario
    left = random.Random(f"mix/{seed}/{number}").random() * sum(w for w, _ in scenario.mix)
    for weight, component in scenario.mix:
        left -= weight
        if left < 0:
            return component
    return scenario.mix[-1][1]


def _turn(scenario: Scenario, seed: int, number: int, turn: int) -> tuple[int | None, int | None]:
    """A shared prefix opens the first turn only; the later ones are shorter by it."""
    again = f"/{turn}" if turn else ""
    asked = _drawn(scenario.prompt_tokens, seed, f"prompt{again}", number)
    if asked is not None and turn:
        asked -= scenario.shared_prefix_tokens
    return asked, _drawn(scenario.output_tokens, seed, f"output{again}", number)


def _drawn(length: Length | None, seed: int, what: str, number: int) -> int | None:
    return None if length is None else drawn(length, seed=seed, what=what, number=number)


def _prefix(scenario: Scenario, seed: int, number: int) -> int | None:
    if not scenario.shared_prefix_tokens:
        return None
    return random.Random(f"prefix/{seed}/{number}").randrange(scenario.prefixes)
