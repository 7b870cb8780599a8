"""Rows of token ids to calibrate on, the same ones for the same seed and text."""

from __future__ import annotations

import hashlib
import random
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.models.errors import BadFile
from quantswarm.models.quantize.settings import VARIABLE, Settings
from quantswarm.models.train.corpus import is_held_out, library_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Token ids, and what they were made from, in words."""

    rows: tuple[tuple[int, ...], ...]
    origin: str

    @property
    def sha256(self) -> str:
        """Of the ids themselves: equal where the calibration was equal."""
        return hashlib.sha256(repr(self.rows).encode()).hexdigest()


def rows(tokenizer: Path, settings: Settings, asked: str) -> Calibration:
    """`settings.rows` rows; `BadFile` where the text is too short for them."""
    from tokenizers import Tokenizer

    reader = Tokenizer.from_file(str(tokenizer))
    found = _drawn(reader, settings)
    if len(found) < settings.rows:
        raise BadFile(
            f"calibration of {asked}",
            f"the text gives {len(found)} rows of {settings.tokens} tokens,"
            f" {settings.rows} are asked for",
            next_step=f"a longer text, or fewer rows: {VARIABLE}='rows=… text=…'",
        )
    return Calibration(rows=tuple(found), origin=_origin(settings))


def _drawn(reader: Any, settings: Settings) -> list[tuple[int, ...]]:
    """One row a document of the library, so that many are seen; all rows of the user's text."""
    chance = random.Random(settings.seed)
    if settings.text is not None:
        ids = _ids(reader, settings.text)
        starts = list(range(0, len(ids) - settings.tokens + 1, settings.tokens))
        chance.shuffle(starts)
        return [tuple(ids[at : at + settings.tokens]) for at in starts[: settings.rows]]
    drawn: list[tuple[int, ...]] = []
    files = list(_training_files())
    chance.shuffle(files)
    for path in files:
        if len(drawn) == settings.rows:
            break
        ids = _ids(reader, path)
        if len(ids) >= settings.tokens:
            at = chance.randrange(len(ids) - settings.tokens + 1)
            drawn.append(tuple(ids[at : at + settings.tokens]))
    return drawn


def _ids(reader: Any, path: Path) -> list[int]:
    text = path.read_text(encoding="utf-8", errors="ignore")
    return list(reader.encode(text, add_special_tokens=False).ids)


def _training_files() -> Iterator[Path]:
    """Without those that `tiny`'s quality is measured on."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in library_files(library):
        if not is_held_out(path.relative_to(library).as_posix()):
            yield path


def _origin(settings: Settings) -> str:
    if settings.text is not None:
        return (
            f"{settings.text.name}, sha256 {hashlib.sha256(settings.text.read_bytes()).hexdigest()}"
        )
    return (
        f"standard library of Python {sysconfig.get_python_version()}, without the held-out files"
    )
