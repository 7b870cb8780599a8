"""Does a scenario's longest request fit into the model's context? Asked before any start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantswarm.bench.load.lengths import longest
from quantswarm.bench.load.scenario import Scenario
from quantswarm.bench.load.talk import TalkMaker
from quantswarm.models.errors import UserMistake

TEMPLATE_TOKENS = 16
"""Allowed for what a chat template puts around each message: it is not known beforehand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The longest request of a scenario. A last turn holds the whole conversation before it."""

    scenario: str
    prompt_tokens: int
    answer_tokens: int
    template_tokens: int

    @property
    def tokens(self) -> int:
        """All of it, as the server's context must hold it."""
        return self.prompt_tokens + self.answer_tokens + self.template_tokens

    def words(self) -> str:
        """The sum with its parts."""
        parts = f"{self.prompt_tokens:,} of prompts, {self.answer_tokens:,} of answers"
        if self.template_tokens:
            parts += f", {self.template_tokens:,} allowed for the chat template"
        return f"{self.tokens:,} tokens ({parts})"


def need_of(scenario: Scenario, tokenizer: Path | None, *, seed: int = 0) -> Need | None:
    """None where it cannot be known: a data set, and no tokenizer to count it with."""
    maker = None
    if any(component.data for component in scenario.components):
        maker = TalkMaker(scenario, seed=seed, cell="", tokenizer=tokenizer)
    needs = [_need(component, maker) for component in scenario.components]
    known = [need for need in needs if need is not None]
    return max(known, key=lambda need: need.tokens) if len(known) == len(needs) else None


def check_fits(need: Need | None, *, made_for: int | None, given: int | None) -> None:
    """`UserMistake` with the numbers, for a model made for less or a `--context` of less."""
    if need is None:
        return
    for room, whose in ((made_for, "the model was made for"), (given, "--context gives it")):
        if room is not None and need.tokens > room:
            raise UserMistake(
                f"scenario {need.scenario}",
                f"its longest request needs {need.words()}, and {whose} {room:,}",
                next_step="shorten prompt_tokens, output_tokens or turns in the scenario, or take "
                "a model (or --context) with room",
            )


def _need(scenario: Scenario, maker: TalkMaker | None) -> Need | None:
    turns = longest(scenario.turns)
    if scenario.data is not None:
        assert maker is not None
        found = maker.longest_data_request(scenario)
        if found is None:
            return None
        prompts, answers = found
    else:
        assert scenario.prompt_tokens is not None
        assert scenario.output_tokens is not None
        prompt = longest(scenario.prompt_tokens)
        prompts = prompt + (turns - 1) * (prompt - scenario.shared_prefix_tokens)
        answers = turns * longest(scenario.output_tokens)
    return Need(
        scenario=scenario.name,
        prompt_tokens=prompts,
        answer_tokens=answers,
        template_tokens=2 * turns * TEMPLATE_TOKENS if scenario.api == "chat" else 0,
    )
