"""The embedded model's tokenizer, grown by rule to any vocabulary size.

Each extra token joins two known tokens of visible ASCII, in a fixed order, with a merge of lower
rank than all trained ones. So every extra id decodes to text a person can see.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from quantswarm.models.errors import BadFile
from quantswarm.models.hf_folder import read_json

_SPACE = "Ġ"
"""How byte-level BPE writes a space."""


def write(base: Path, folder: Path, vocabulary: int, asked: str) -> tuple[int, ...]:
    """Write tokenizer.json and tokenizer_config.json for `vocabulary` tokens, from those in `base`.

    Returns the ids that greedy decoding must never pick: special tokens, and those without visible
    ASCII text.
    """
    tokenizer = read_json(base / "tokenizer.json", asked)
    grow(tokenizer, vocabulary, asked)
    settings = read_json(base / "tokenizer_config.json", asked)
    settings.pop("model_max_length", None)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    special = {token["id"] for token in tokenizer["added_tokens"]}
    ids: dict[str, int] = tokenizer["model"]["vocab"]
    return tuple(
        sorted(number for token, number in ids.items() if number in special or not visible(token))
    )


def grow(tokenizer: dict[str, Any], vocabulary: int, asked: str) -> None:
    """Add tokens and merges, in place, until there are `vocabulary` tokens."""
    ids: dict[str, int] = tokenizer["model"]["vocab"]
    merges: list[Any] = tokenizer["model"]["merges"]
    if len(ids) > vocabulary:
        raise BadFile(asked, f"its base tokenizer has {len(ids)} tokens already")
    pairs = _pairs([token for token in sorted(ids, key=ids.__getitem__) if token.isascii()], ids)
    while len(ids) < vocabulary:
        left, right = next(pairs)
        if left + right not in ids:
            ids[left + right] = len(ids)
            merges.append([left, right])


def visible(token: str) -> bool:
    """Whether a byte-level token decodes to printable ASCII with something to see."""
    text = token.replace(_SPACE, " ")
    return text.isascii() and text.isprintable() and not text.isspace()


def _pairs(tokens: list[str], ids: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Pairs of visible tokens made of letters, short ones of the alphabet first."""
    letters = [token for token in tokens if token.isalpha() and token in ids]
    for last in count(1):
        if last > len(letters):
            raise BadFile("synthetic tokenizer", "the base tokenizer has too few letter tokens")
        for other in range(last):
            yield letters[other], letters[last - 1]
            yield letters[last - 1], letters[other]
