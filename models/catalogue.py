"""Hub models known by name, read from catalogue.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A model of the hub: its original repository and those of ready-made quantized weights.

    `revision` is None where no commit is pinned. `gated` models need an accepted licence and a
    token. `gguf_file` is the file's name with {quant} or {QUANT} in it, for `gguf_quants`.
    """

    name: str
    title: str
    repo: str
    parameters: int
    context_tokens: int
    revision: str | None = None
    gated: bool = False
    awq: str | None = None
    awq_revision: str | None = None
    gptq: str | None = None
    gptq_revision: str | None = None
    gguf: str | None = None
    gguf_revision: str | None = None
    gguf_file: str | None = None
    gguf_quants: tuple[str, ...] = ()

    def ready_gguf(self, quant: str | None) -> str | None:
        """The name of the ready-made GGUF file of that quantization; None where there is none."""
        if self.gguf_file is None or quant not in self.gguf_quants:
            return None
        return self.gguf_file.format(quant=quant, QUANT=quant.upper())

    def ready_made(self, quant: str | None) -> tuple[str, str | None] | None:
        """(repository, revision) of ready-made safetensors of that quantization, if there are."""
        if quant == "awq" and self.awq is not None:
            return self.awq, self.awq_revision
        if quant == "gptq" and self.gptq is not None:
            return self.gptq, self.gptq_revision
        return None


@cache
def models() -> Mapping[str, CatalogueEntry]:
    """Every entry by name, in the file's order."""
    text = Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8")
    found = {}
    for name, fields in tomllib.loads(text).items():
        quants = tuple(fields.pop("gguf_quants", ()))
        found[name] = CatalogueEntry(name=name, gguf_quants=quants, **fields)
    return found


def find(name: str) -> CatalogueEntry | None:
    """The entry of that name or of that original repository; case does not matter."""
    wanted = name.lower()
    for entry in models().values():
        if wanted in (entry.name, entry.repo.lower()):
            return entry
    return None
