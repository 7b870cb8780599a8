"""How weights are quantized: group size, symmetric or not, and the text they are calibrated on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from quantswarm.models.errors import BadFile, UserMistake
from quantswarm.models.sealed import file_sha256

VARIABLE = "QUANTSWARM_QUANTIZE"
GROUP_SIZES = ("32", "64", "128")
_AGAIN = f"e.g. {VARIABLE}='group_size=64 rows=128 text=notes.txt', or unset it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`rows` rows of `tokens` tokens each are drawn with `seed` from `text`, None being the
    sources of Python's standard library."""

    group_size: int = 128
    symmetric: bool = True
    rows: int = 32
    tokens: int = 256
    seed: int = 0
    text: Path | None = None

    def facts(self) -> dict[str, Any]:
        """What decides the weights; the text by its content. Part of the artefact's key."""
        told = asdict(self)
        told["text"] = None if self.text is None else file_sha256(self.text)
        return told


def chosen(defaults: Settings) -> Settings:
    """The defaults of a recipe, changed by `QUANTSWARM_QUANTIZE`."""
    given = os.environ.get(VARIABLE, "")
    changes: dict[str, Any] = {}
    for word in shlex.split(given):
        name, equals, value = word.partition("=")
        if not equals or name not in _names():
            raise UserMistake(
                f"{VARIABLE}={given!r}",
                f"{word!r} is no setting",
                evidence=f"Choices: {', '.join(f'{known}=…' for known in _names())}.",
                next_step=_AGAIN,
            )
        changes[name] = _value(name, value)
    return replace(defaults, **changes)


def _names() -> Mapping[str, None]:
    return {field.name: None for field in fields(Settings)}


def _value(name: str, value: str) -> Any:
    if name == "text":
        path = Path(value).expanduser().absolute()
        if not path.is_file():
            raise BadFile(f"{VARIABLE}: text={value}", "no such file", next_step=_AGAIN)
        return path
    if name == "symmetric":
        if value in ("yes", "no"):
            return value == "yes"
        raise UserMistake(f"{VARIABLE}: {name}={value}", "neither yes nor no", next_step=_AGAIN)
    if name == "group_size" and value not in GROUP_SIZES:
        raise UserMistake(
            f"{VARIABLE}: {name}={value}",
            "no group size of the kernels that serve 4-bit weights",
            evidence=f"Choices: {', '.join(GROUP_SIZES)}.",
            next_step=_AGAIN,
        )
    least = 0 if name == "seed" else 1
    if not value.isdecimal() or int(value) < least:
        raise UserMistake(
            f"{VARIABLE}: {name}={value}", f"no whole number from {least}", next_step=_AGAIN
        )
    return int(value)
