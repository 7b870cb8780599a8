"""One item of a task: a context and what may follow it, as token ids and as text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

COMPLETION, CHOICE = "code-completion", "code-choice"
Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Text and the tokens that it is, where it stands."""

    text: str
    ids: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """`options` are what is scored, `answer` the place of the right one. A completion has one
    option, which is to be the likeliest token at each place. `id` stands for all of its tokens, so
    that equal ids are the same question."""

    task: str
    id: str
    context: Piece
    options: tuple[Piece, ...]
    answer: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one item went.

    `score` in nats: of a completion its log-probability, of a choice the right option's less the
    best wrong one's; None where the server does not tell. `right_by_length`: the same choice with
    each log-probability divided by its text's length in characters; None for completions.
    """

    id: str
    right: bool
    score: float | None
    right_by_length: bool | None = None


def item_of(task: str, context: Piece, options: Sequence[Piece], answer: int = 0) -> Item:
    """The item, with the id that its tokens give."""
    told = repr((task, context.ids, [one.ids for one in options], answer))
    digest = hashlib.blake2b(told.encode("ascii"), digest_size=8).hexdigest()
    return Item(
        task=task, id=f"{task}-{digest}", context=context, options=tuple(options), answer=answer
    )
