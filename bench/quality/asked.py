"""What is asked of a quality measurement: how many tokens, of which text; and a matrix's key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench import config_file

WINDOW_TOKENS = 256
"""Tokens of one window. Its first is not scored, the others see the window's beginning."""
DEFAULT_TOKENS = 4096
FEWEST_TOKENS = 512
MEASURED_BY_DEFAULT = "tiny"
"""The model whose quality a matrix measures unasked. The reference of others costs minutes and, at
4 bytes a token and vocabulary entry, gigabytes; and random weights have no quality."""
_KEYS = {"tokens", "text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`tokens` are sent, in windows of `window`; `text` None takes the model's own held-out text,
    or Python's documentation. `reference` names the unquantized model, None for what the artefact
    was made from."""

    tokens: int = DEFAULT_TOKENS
    text: Path | None = None
    reference: str | None = None
    window: int = WINDOW_TOKENS


def asked_in(document: Mapping[str, Any], model: str, path: Path) -> Asked | None:
    """The `quality` key of a matrix file: true, false or a table of tokens and text. Without one,
    quality is measured of `tiny` alone. None: it is not measured."""
    value = document.get("quality", model == MEASURED_BY_DEFAULT)
    if isinstance(value, bool):
        return Asked() if value else None
    if not isinstance(value, dict):
        raise config_file.wrong(
            "matrix", path, f"quality must be true, false or a table, found {value!r}"
        )
    config_file.check_keys(value, _KEYS, path)
    tokens = value.get("tokens", DEFAULT_TOKENS)
    if type(tokens) is not int or tokens < FEWEST_TOKENS:
        raise config_file.wrong(
            "matrix", path, f"quality.tokens must be {FEWEST_TOKENS} or more, found {tokens!r}"
        )
    text = value.get("text")
    if text is not None and not isinstance(text, str):
        raise config_file.wrong("matrix", path, f"quality.text must be a path, found {text!r}")
    return Asked(tokens=tokens, text=None if text is None else _beside(Path(text), path))


def _beside(text: Path, path: Path) -> Path:
    """A relative path counts from the matrix file, where there is such a file."""
    near = path.parent / text
    return near if not text.is_absolute() and near.is_file() else text
