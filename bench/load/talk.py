"""A whole conversation to be held, its texts made or taken from a data set.

Most are of one turn. A later turn's text is made beforehand like the first one's; what it follows,
the server's true answers, is only known when the time comes (`conversation`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quantswarm.bench.load.dataset import Entry, read_dataset
from quantswarm.bench.load.draft import Draft, draft_of
from quantswarm.bench.load.lengths import longest
from quantswarm.bench.load.prompts import Prompt, PromptMaker
from quantswarm.bench.load.scenario import Scenario
from quantswarm.models.errors import BadFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a user says next, and how long the answer is to be."""

    prompt: Prompt
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """`part` names the component of a mix. `is_conversation` also of those that, by chance of the
    draw, have one turn in a scenario of several."""

    part: str | None
    api: str
    think_time_s: float
    is_conversation: bool
    turns: tuple[Turn, ...]

    @property
    def uid(self) -> str:
        """That of the first turn."""
        return self.turns[0].prompt.uid


class TalkMaker:
    """Makes the conversation of a number: a pure function of scenario, seed, cell and number.

    Reads the scenario's data sets at construction: `BadFile` for one that is not as it should be.
    """

    def __init__(self, scenario: Scenario, *, seed: int, cell: str, tokenizer: Path | None) -> None:
        self._scenario = scenario
        self._seed = seed
        self._prompts = PromptMaker(seed=seed, cell=cell, tokenizer=tokenizer)
        self._data: Mapping[Scenario, tuple[Entry, ...]] = {
            component: self._entries(component)
            for component in scenario.components
            if component.data is not None
        }

    def make(
        self, number: int, prompt_tokens: int | None = None, output_tokens: int | None = None
    ) -> Talk:
        """The lengths replace those of the first turn, as a trace has them."""
        draft = draft_of(self._scenario, seed=self._seed, number=number)
        asked, answered = draft.turns[0]
        first = (prompt_tokens or asked, output_tokens or answered)
        scenario = draft.scenario
        return Talk(
            part=draft.part,
            api=scenario.api,
            think_time_s=scenario.think_time_s,
            is_conversation=longest(scenario.turns) > 1,
            turns=self._turns(draft, (first, *draft.turns[1:])),
        )

    def longest_data_request(self, scenario: Scenario) -> tuple[int, int] | None:
        """(prompt, answer) tokens of the longest entry of a component's data set, all its turns
        together; None without a data set, or where no tokenizer is known."""
        if scenario.data is None or self._prompts.count("") is None:
            return None
        most = longest(scenario.turns)
        return max((self._size(e, scenario, most) for e in self._data[scenario]), key=sum)

    def _turns(
        self, draft: Draft, lengths: tuple[tuple[int | None, int | None], ...]
    ) -> tuple[Turn, ...]:
        if draft.scenario.data is not None:
            return self._data_turns(draft, self._data[draft.scenario])
        return tuple(
            Turn(prompt=self._prompt(draft, turn, asked or 0), output_tokens=answered or 0)
            for turn, (asked, answered) in enumerate(lengths)
        )

    def _prompt(self, draft: Draft, turn: int, tokens: int) -> Prompt:
        prefix = ""
        if draft.prefix is not None and not turn:
            prefix = self._prompts.prefix(draft.prefix, draft.scenario.shared_prefix_tokens)
        return self._prompts.make(draft.number, tokens, turn=turn, prefix=prefix)

    def _data_turns(self, draft: Draft, entries: tuple[Entry, ...]) -> tuple[Turn, ...]:
        """Every entry once, in an order of the seed's, then all of them again."""
        entry = entries[draft.number % len(entries)]
        turns = list(zip(entry.asks, entry.answers, draft.turns, strict=False))
        return tuple(
            Turn(
                prompt=self._prompts.given(draft.number, ask, turn=turn),
                output_tokens=self._answer_tokens(entry, answer, asked[1], draft.scenario),
            )
            for turn, (ask, answer, asked) in enumerate(turns)
        )

    def _answer_tokens(
        self, entry: Entry, answer: str | None, fallback: int | None, scenario: Scenario
    ) -> int:
        """The data set's own where it tells, else the scenario's."""
        said = entry.output_tokens
        if said is None and answer is not None:
            said = self._prompts.count(answer)
        if said is None:
            said = fallback
        if said is None:
            assert scenario.data is not None
            why = "no tokenizer is known to count it" if answer is not None else "it has none"
            raise BadFile(
                f"data set {Path(scenario.data).name}, line {entry.line}",
                f"how long its answer is to be cannot be known: {why}",
                next_step=f"give output_tokens there, or in scenario {scenario.name}",
            )
        return max(1, said)

    def _entries(self, scenario: Scenario) -> tuple[Entry, ...]:
        """Those that are not too long, shuffled; each is known to have a length for its answers."""
        assert scenario.data is not None
        entries = list(read_dataset(Path(scenario.data)))
        most = scenario.longest_prompt_tokens
        if most is not None:
            entries = [entry for entry in entries if self._fits(entry, most, scenario)]
            if not entries:
                raise BadFile(
                    f"data set {Path(scenario.data).name}",
                    f"none of its prompts is of {most} tokens or less",
                    next_step=f"raise longest_prompt_tokens in scenario {scenario.name}",
                )
        random.Random(f"data/{self._seed}").shuffle(entries)
        turns = longest(scenario.turns)
        if scenario.output_tokens is None:
            for entry in entries:
                for answer in entry.answers[:turns]:
                    self._answer_tokens(entry, answer, None, scenario)
        return tuple(entries)

    def _fits(self, entry: Entry, most: int, scenario: Scenario) -> bool:
        asks = entry.asks[: longest(scenario.turns)]
        counts = [self._prompts.given(0, ask).tokens for ask in asks]
        if None in counts:
            raise BadFile(
                f"data set {scenario.data}",
                "no tokenizer is known for this server, so longest_prompt_tokens cannot be held",
                next_step="leave the key out, or let quantswarm start the server",
            )
        return all(count is not None and count <= most for count in counts)

    def _size(self, entry: Entry, scenario: Scenario, turns: int) -> tuple[int, int]:
        fallback = None if scenario.output_tokens is None else longest(scenario.output_tokens)
        asked = [self._prompts.given(0, ask).tokens or 0 for ask in entry.asks[:turns]]
        answers = entry.answers[:turns]
        return sum(asked), sum(self._answer_tokens(entry, a, fallback, scenario) for a in answers)
