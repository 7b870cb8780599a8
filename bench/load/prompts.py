"""Prompts of an exact token length, each used once: a unique id first, then real text.

Where prompts share a prefix on purpose, that stands before the id, and opens with an id of its own.

Text is cut where the tokenizer says, then counted again as a whole, since a cut can change how the
neighbouring characters merge; only a prompt that counts exactly right is handed out.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from quantswarm.bench.load.share import ALONE, Share
from quantswarm.models.errors import RunFailed
from quantswarm.models.tokenizer_file import loaded

_TRIES_A_PLACE = 6
_PLACES = 40
_SAMPLE_CHARACTERS = 5000
_UID_DIGITS = 12

Made_co = TypeVar("Made_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """`tokens` is the exact count by the tokenizer, None where no tokenizer is known."""

    uid: str
    text: str
    tokens: int | None


def corpus() -> str:
    """Real text: the held-out text of the embedded model, else Python's own documentation."""
    spec = find_spec("quantswarm.models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        held_out = Path(folder) / "tiny" / "held_out.txt"
        if held_out.is_file():
            return held_out.read_text(encoding="utf-8")
    return documentation()


def documentation() -> str:
    """The texts that Python's `help()` shows of its language."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


def uid_of(seed: int, cell: str, number: int | str) -> str:
    """Differs from its first characters on between requests, cells and seeds."""
    text = f"{seed}/{cell}/{number}".encode()
    return hashlib.blake2b(text, digest_size=_UID_DIGITS // 2).hexdigest()


class PromptMaker:
    """Makes the prompt of a number: a pure function of seed, cell and number."""

    def __init__(
        self, *, seed: int, cell: str, tokenizer: Path | None, tokens: int | None = None
    ) -> None:
        self._tokens = tokens
        self._seed = seed
        self._cell = cell
        self._corpus = corpus()
        self._encode = None if tokenizer is None else _encoder(tokenizer)
        self._characters_a_token = self._density()
        self._prefixes: dict[tuple[int, int], str] = {}

    def make(
        self, number: int, tokens: int | None = None, *, turn: int = 0, prefix: str = ""
    ) -> Prompt:
        """Prompt `number`, of another length where one is given; `RunFailed` when no text of that
        length can be found. `turn` tells those of one conversation apart, from 0; `prefix` opens
        the prompt and is part of its length."""
        wanted = self._tokens if tokens is None else tokens
        assert wanted is not None
        return self._made(self._uid(number, turn), wanted, prefix)

    def given(self, number: int, text: str, *, turn: int = 0) -> Prompt:
        """A text that is what it is, behind the id that makes it unique."""
        uid = self._uid(number, turn)
        whole = f"{uid}\n{text}"
        return Prompt(uid=uid, text=whole, tokens=self.count(whole))

    def prefix(self, which: int, tokens: int) -> str:
        """Shared beginning number `which`, of exactly that length by itself."""
        if (which, tokens) not in self._prefixes:
            uid = uid_of(self._seed, self._cell, f"prefix/{which}")
            self._prefixes[which, tokens] = f"{self._made(uid, tokens, '').text}\n"
        return self._prefixes[which, tokens]

    def count(self, text: str) -> int | None:
        """Tokens of a text; None where no tokenizer is known."""
        return None if self._encode is None else len(self._encode(text))

    def _uid(self, number: int, turn: int) -> str:
        return uid_of(self._seed, self._cell, f"{number}/{turn}" if turn else number)

    def _made(self, uid: str, wanted: int, prefix: str) -> Prompt:
        random_of = random.Random(uid)
        if self._encode is None:
            return Prompt(uid=uid, text=self._words(uid, random_of, wanted, prefix), tokens=None)
        for _ in range(_PLACES):
            piece = self._piece(random_of, wanted)
            text = self._fitted(f"{prefix}{uid}\n", piece, wanted)
            if text is not None:
                return Prompt(uid=uid, text=text, tokens=wanted)
        raise RunFailed(
            f"a prompt of exactly {wanted} tokens",
            f"none found at {_PLACES} places of the text with this tokenizer",
            next_step="choose another prompt length in the scenario",
        )

    def _density(self) -> int:
        """Characters to look at for each token wanted: half more than usual, for dense places."""
        if self._encode is None:
            return 8
        sample = self._corpus[:_SAMPLE_CHARACTERS]
        return 1 + int(1.5 * len(sample) / max(1, len(self._encode(sample))))

    def _piece(self, random_of: random.Random, wanted: int) -> str:
        """A random place of the text, with room enough; a text too short is repeated."""
        room = (wanted + 8) * self._characters_a_token
        text = self._corpus * -(-room // max(1, len(self._corpus)))
        start = random_of.randrange(max(1, len(text) - room))
        return text[start : start + room]

    def _fitted(self, begin: str, piece: str, wanted: int) -> str | None:
        """`begin` and as much of `piece` as makes the count right; None when it will not fit."""
        assert self._encode is not None
        ends = self._encode(begin + piece)
        keep = wanted
        for _ in range(_TRIES_A_PLACE):
            if not 0 < keep <= len(ends):
                return None
            text = (begin + piece)[: ends[keep - 1]]
            counted = len(self._encode(text))
            if counted == wanted and len(text) > len(begin):
                return text
            keep += wanted - counted
        return None

    def _words(self, uid: str, random_of: random.Random, wanted: int, prefix: str) -> str:
        words = re.findall(r"\w+", self._piece(random_of, wanted))
        begin = [*prefix.split(), uid]
        chosen = (words * (1 + wanted // max(1, len(words))))[: max(0, wanted - len(begin))]
        return " ".join([*begin, *chosen])


def _encoder(path: Path) -> Callable[[str], list[int]]:
    """Text → for each token the character at which it ends, special tokens included."""
    tokenizer = loaded(path)

    def ends(text: str) -> list[int]:
        return [end for _, end in tokenizer.encode(text).offsets]

    return ends


class Maker(Protocol[Made_co]):
    """Makes what belongs to a number."""

    def make(self, number: int, /) -> Made_co:
        """The same for the same number."""


class PromptPool(Generic[Made_co]):
    """Prompts made beforehand; `take` makes one on the spot, and counts it, when none is left."""

    def __init__(self, maker: Maker[Made_co], share: Share = ALONE) -> None:
        self._maker = maker
        self._ready: deque[Made_co] = deque()
        # Shared by a filling thread and a late taker; next() is atomic.
        self._numbers = share.numbers()
        self._filled = 0
        self.late = 0

    @property
    def ready(self) -> int:
        """How many are left."""
        return len(self._ready)

    @property
    def made(self) -> int:
        """How many were made in all."""
        return self._filled + self.late

    def fill(self, more: int) -> None:
        """Make `more`, in one thread at most, which may be another than the taker's."""
        for _ in range(more):
            self._ready.append(self._maker.make(next(self._numbers)))
            self._filled += 1

    def take(self) -> Made_co:
        """One that nobody had before."""
        if self._ready:
            return self._ready.popleft()
        self.late += 1
        return self._maker.make(next(self._numbers))
