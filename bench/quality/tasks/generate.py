"""Items made of held-out text by a seed: no download, and a model trained on the like has signal.

* `code-completion`: the next token of a line of code, right when it is the likeliest.
* `code-choice`: which of four passages goes on where the context ends; three are from elsewhere,
  of the same number of tokens, and all begin a new line with the same indentation.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping

from quantswarm.bench.quality.tasks.item import CHOICE, COMPLETION, Item, Piece, item_of
from quantswarm.bench.quality.tasks.passages import Passages
from quantswarm.models.errors import UserMistake

CONTEXT_TOKENS = 96
COMPLETION_TOKENS = 1
CHOICE_TOKENS = 6
OPTIONS = 4
APART_TOKENS = 1000
"""Wrong options come from at least so far away."""
_TRIES_AN_ITEM = 60
_WIDEST = 200


def generated(task: str, source: Passages, items: int, seed: int) -> list[Item]:
    """So many different items; the first n of a seed are the same whatever `items` is.

    `UserMistake` where the text does not hold so many.
    """
    chance = random.Random(f"{task}/{seed}")
    found: dict[str, Item] = {}
    for item in GENERATED[task](source, chance, items * _TRIES_AN_ITEM):
        found.setdefault(item.id, item)
        if len(found) == items:
            return list(found.values())
    raise UserMistake(
        f"{items} items of {task}",
        f"{len(found)} found in a text of {len(source.ids):,} tokens",
        next_step="fewer --items, or a longer text",
    )


def _completions(source: Passages, chance: random.Random, tries: int) -> Iterator[Item]:
    last = len(source.ids) - COMPLETION_TOKENS
    for _ in range(tries if last > CONTEXT_TOKENS else 0):
        place = chance.randrange(CONTEXT_TOKENS, last)
        context = source.piece(place - CONTEXT_TOKENS, CONTEXT_TOKENS)
        option = source.piece(place, COMPLETION_TOKENS)
        asks = _says_something(option.text) and source.cuttable(place)
        if asks and source.faithful(context, option):
            yield item_of(COMPLETION, context, [option])


def _says_something(text: str) -> bool:
    """Within a line, and more than punctuation: brackets and indents are no question."""
    return "\n" not in text and any(map(str.isalnum, text))


def _choices(source: Passages, chance: random.Random, tries: int) -> Iterator[Item]:
    alike = _line_ends(source)
    ends = [place for some in alike.values() for place in some]
    for _ in range(tries if ends else 0):
        place = chance.choice(ends)
        others = chance.sample(alike[_indent(source, place)], OPTIONS - 1)
        context = source.piece(place - CONTEXT_TOKENS, CONTEXT_TOKENS)
        true = source.piece(place, CHOICE_TOKENS)
        options = [true, *(source.piece(one, CHOICE_TOKENS) for one in others)]
        apart = all(abs(one - place) >= APART_TOKENS for one in others)
        if apart and _distinct(options) and all(source.faithful(context, one) for one in options):
            chance.shuffle(options)
            yield item_of(CHOICE, context, options, options.index(true))


def _line_ends(source: Passages) -> dict[str, list[int]]:
    """Places where a line ends, by the white space that follows, where enough are alike."""
    found: dict[str, list[int]] = {}
    for place in range(CONTEXT_TOKENS, len(source.ids) - CHOICE_TOKENS):
        if source.text[source.begins(place)] == "\n" and source.cuttable(place):
            found.setdefault(_indent(source, place), []).append(place)
    return {indent: some for indent, some in found.items() if len(some) >= OPTIONS}


def _indent(source: Passages, place: int) -> str:
    """White space from there to what the next line says."""
    begin = source.begins(place)
    near = source.text[begin : begin + _WIDEST]
    return near[: len(near) - len(near.lstrip())]


def _distinct(options: list[Piece]) -> bool:
    return len({one.text for one in options}) == len(options) and all(
        any(map(str.isalnum, one.text)) for one in options
    )


GENERATED: Mapping[str, Callable[[Passages, random.Random, int], Iterator[Item]]] = {
    COMPLETION: _completions,
    CHOICE: _choices,
}
"""By the name of the task."""
