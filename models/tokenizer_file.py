"""A model's `tokenizer.json`, loaded so that every text is encoded whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from quantswarm.models.errors import BadFile


def loaded(path: Path) -> Any:
    """The tokenizer of a file, or of a folder's `tokenizer.json`, without truncation or padding.
    `BadFile` where it cannot be read."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        found: Any = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise BadFile(
            f"tokenizer {file}", f"cannot be read: {error}", next_step="give a tokenizer.json"
        ) from error
    found.no_truncation()
    found.no_padding()
    return found
