"""The text that quality is measured on, its tokens, and the windows that they are sent in.

Text is tokenised once, by the unquantized model's own tokenizer, and every variant gets the same
ids. Windows follow each other without overlap. A tokenizer that puts a token before a text (BOS)
has it before each window; none is added otherwise. The first token of a window is not scored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench.load.prompts import documentation
from quantswarm.bench.quality.asked import Asked
from quantswarm.models import text_file, tokenizer_file
from quantswarm.models.errors import BadFile

HELD_OUT = "held-out text of tiny"
DOCUMENTATION = "Python's documentation (pydoc_data.topics)"
_CHARACTERS_A_TOKEN = 8
"""More than any tokenizer needs on ordinary text; doubled where it does not suffice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A whole text and what to call it."""

    name: str
    content: str

    @property
    def sha256(self) -> str:
        """Of its UTF-8."""
        return hashlib.sha256(self.content.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A beginning of the text, its ids and the bytes of each; `lead` stands before each window."""

    text: str
    ids: tuple[int, ...]
    sizes: tuple[int, ...]
    lead: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """`windows` hold ids, the lead's included; `scored_bytes` are those of all scored tokens."""

    text: Text
    encoded: Encoded
    windows: tuple[tuple[int, ...], ...]
    scored_bytes: int
    asked_tokens: int

    @property
    def scored(self) -> int:
        """Tokens that are scored."""
        return sum(len(window) - 1 for window in self.windows)

    @property
    def digest(self) -> str:
        """Of the ids in their windows: what a reference depends on, beside its weights."""
        return hashlib.sha256(repr(self.windows).encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """As the result has it: bytes and sha256 are the whole text's, tokens those sent."""
        return {
            "name": self.text.name,
            "sha256": self.text.sha256,
            "bytes": len(self.text.content.encode()),
            "tokens": sum(map(len, self.windows)),
            "asked_tokens": self.asked_tokens,
            "windows": len(self.windows),
            "window": len(self.windows[0]),
            "bos": list(self.encoded.lead) or None,
            "scored_bytes": self.scored_bytes,
        }


def text_name(model: str, given: Path | None) -> str:
    """What `text_for` will call it, without reading it."""
    if given is not None:
        return given.name
    return HELD_OUT if model == "tiny" else DOCUMENTATION


def text_for(model: str, given: Path | None) -> Text:
    """The file that is given, else the text held out from `tiny`, else Python's documentation."""
    name = text_name(model, given)
    if given is not None:
        return Text(name=name, content=text_file.read(given))
    if model == "tiny":
        from quantswarm.models.source import tiny_folder

        held_out = tiny_folder() / "held_out.txt"
        return Text(name=name, content=held_out.read_text(encoding="utf-8"))
    return Text(name=name, content=documentation())


def corpus_of(text: Text, tokenizer: Path | None, asked: Asked) -> Corpus:
    """Windows of as many tokens as are asked for, or as the text has; `BadFile` under one window.

    Without a tokenizer the text is cut as the scripted server cuts it.
    """
    characters = asked.tokens * _CHARACTERS_A_TOKEN
    while True:
        part = _beginning(text.content, characters)
        encoded = scripted_ids(part) if tokenizer is None else token_ids(part, tokenizer)
        if len(encoded.ids) >= asked.tokens or len(part) == len(text.content):
            break
        characters *= 2
    return _windows(text, encoded, asked)


def _beginning(content: str, characters: int) -> str:
    """Whole lines, so that no word is cut where the next tokenizer would see it whole."""
    if characters >= len(content):
        return content
    end = content.rfind("\n", 0, characters)
    return content[: end + 1] if end > 0 else content[:characters]


def _windows(text: Text, encoded: Encoded, asked: Asked) -> Corpus:
    lead = encoded.lead
    step = asked.window - len(lead)
    count = min(asked.tokens // asked.window, len(encoded.ids) // step)
    if count < 1:
        raise BadFile(
            f"text {text.name}",
            f"{len(encoded.ids)} tokens, and a window has {asked.window}",
            next_step="a longer text, or --tokens of a window or more",
        )
    starts = range(0, count * step, step)
    first = 0 if lead else 1
    return Corpus(
        text=text,
        encoded=encoded,
        windows=tuple((*lead, *encoded.ids[start : start + step]) for start in starts),
        scored_bytes=sum(sum(encoded.sizes[start + first : start + step]) for start in starts),
        asked_tokens=asked.tokens,
    )


def token_ids(text: str, tokenizer: Path) -> Encoded:
    """By a `tokenizer.json`, or the folder of one."""
    reader = tokenizer_file.loaded(tokenizer)
    found = reader.encode(text, add_special_tokens=False)
    return Encoded(
        text=text,
        ids=tuple(found.ids),
        sizes=_sizes(text, found.tokens, found.offsets),
        lead=_lead(reader),
    )


def _sizes(text: str, tokens: Sequence[str], offsets: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Bytes of each token. A byte-level token has one character a byte: if that adds up to the
    text's bytes, it is exact; elsewhere they reach from the last token's end to its own."""
    by_letters = tuple(map(len, tokens))
    if sum(by_letters) == len(text.encode()):
        return by_letters
    found, last = [], 0
    for _, end in offsets:
        found.append(len(text[last:end].encode()))
        last = max(last, end)
    return tuple(found)


def _lead(tokenizer: Any) -> tuple[int, ...]:
    """The token that the tokenizer itself puts before a text, if it does."""
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a", add_special_tokens=True).ids
    at = next((i for i in range(len(full)) if full[i : i + len(plain)] == plain), 0)
    return tuple(full[: min(at, 1)])


def scripted_ids(text: str) -> Encoded:
    """As the scripted server has it: a word and the space after it are a token."""
    from quantswarm.engines.scripted.vocabulary import id_of, pieces

    words = pieces(text)
    return Encoded(
        text=text,
        ids=tuple(map(id_of, words)),
        sizes=tuple(len(word.encode()) for word in words),
    )
