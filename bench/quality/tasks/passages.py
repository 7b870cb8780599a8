"""Held-out text cut at token boundaries, such that text and ids say the same.

A tokenizer may join what stands on both sides of a cut. A piece is used only where encoding its
text, alone and behind its context, gives the very ids that are sent: then an engine that is sent
ids and a harness that is given text answer the same question.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from quantswarm.bench.load.prompts import corpus
from quantswarm.bench.quality.tasks.item import Ids, Piece
from quantswarm.models import text_file
from quantswarm.models.tokenizer_file import loaded

Encode = Callable[[str], tuple[Ids, tuple[int, ...]]]
"""Text → ids, and the character at which each begins."""


class Passages:
    """A tokenised text, and pieces of it."""

    def __init__(self, text: str, encode: Encode) -> None:
        self.text = text
        self._encode = encode
        self.ids, self._begins = encode(text)

    def begins(self, place: int) -> int:
        """The character at which token `place` begins; one past the last is the text's end."""
        return self._begins[place] if place < len(self.ids) else len(self.text)

    def piece(self, first: int, tokens: int) -> Piece:
        """So many tokens from `first` on."""
        end = first + tokens
        return Piece(text=self.text[self.begins(first) : self.begins(end)], ids=self.ids[first:end])

    def cuttable(self, place: int) -> bool:
        """Whether the text before token `place` does not end with white space: harnesses move
        that over to what follows."""
        begin = self.begins(place)
        return 0 < begin < len(self.text) and not self.text[begin - 1].isspace()

    def faithful(self, context: Piece, option: Piece) -> bool:
        """Whether the texts encode to exactly these ids, alone and together."""
        return (
            self._encode(context.text)[0] == context.ids
            and self._encode(context.text + option.text)[0] == context.ids + option.ids
        )


def passages(tokenizer: Path, text: Path | None = None) -> Passages:
    """Of a file, or of the held-out text that comes with the package. `BadFile` where either file
    cannot be read."""
    return Passages(corpus() if text is None else text_file.read(text), _encoder(tokenizer))


def _encoder(path: Path) -> Encode:
    tokenizer = loaded(path)

    def encode(text: str) -> tuple[Ids, tuple[int, ...]]:
        made = tokenizer.encode(text, add_special_tokens=False)
        return tuple(made.ids), tuple(begin for begin, _ in made.offsets)

    return encode
