"""What is asked of the server: some beginnings of real text, and how much it shall go on."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from quantswarm.bench.load.prompts import corpus
from quantswarm.models import text_file
from quantswarm.models.errors import BadFile, UserMistake
from quantswarm.models.tokenizer_file import loaded

SHORTEST_SHARE = 0.5
"""Of the prompt's length: lengths differ, so that kernels meet different numbers of rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`top` is the number of likeliest tokens whose log-probabilities are asked for."""

    prompts: int = 12
    prompt_tokens: int = 48
    output_tokens: int = 8
    top: int = 5
    seed: int = 0
    text: Path | None = None

    @property
    def request_tokens(self) -> int:
        """Of the longest request, prompt and answer together."""
        return self.prompt_tokens + self.output_tokens


def drawn(plan: Plan, tokenizer: Path | None, vocabulary: int) -> list[tuple[int, ...]]:
    """Token ids of each prompt, from places of the text drawn by the seed.

    Without a tokenizer the ids themselves are drawn. `BadFile` for a text that is too short.
    """
    chance = random.Random(plan.seed)
    shortest = max(2, int(plan.prompt_tokens * SHORTEST_SHARE))
    lengths = [chance.randint(shortest, plan.prompt_tokens) for _ in range(plan.prompts)]
    if tokenizer is None:
        if plan.text is not None:
            raise UserMistake(
                f"--text {plan.text}", "the model has no tokenizer", next_step="leave --text out"
            )
        return [tuple(chance.randrange(vocabulary) for _ in range(length)) for length in lengths]
    ids = _ids(plan, tokenizer)
    if len(ids) <= plan.prompt_tokens:
        raise BadFile(
            f"text {plan.text or 'of the package'}",
            f"{len(ids)} tokens, and prompts have up to {plan.prompt_tokens}",
            next_step="a longer --text, or fewer --prompt-tokens",
        )
    starts = [chance.randrange(len(ids) - length) for length in lengths]
    return [
        tuple(ids[start : start + length]) for start, length in zip(starts, lengths, strict=True)
    ]


def _ids(plan: Plan, tokenizer: Path) -> list[int]:
    text = corpus() if plan.text is None else text_file.read(plan.text, called="--text")
    return list(loaded(tokenizer).encode(text, add_special_tokens=False).ids)
