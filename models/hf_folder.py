"""A Hugging Face model folder: what must be in it, and what it says of the model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.models import safetensors_file
from quantswarm.models.errors import BadFile

_PART = re.compile(r"-of-(\d+)\.safetensors$")
_AGAIN = "copy or download the folder again"
_HASHED_WHOLE_BYTES = 64 * 2**20
"""Weights up to this size are hashed for the fingerprint; larger ones by header, size and time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HfFolder:
    """A checked folder: every shard is there and whole. `tensors` are in the order of the files."""

    path: Path
    config: Mapping[str, Any]
    shards: tuple[Path, ...]
    tensors: tuple[safetensors_file.Entry, ...]

    @property
    def parameters(self) -> int:
        return sum(entry.elements for entry in self.tensors)

    @property
    def context_tokens(self) -> int:
        """Longest context by the config; 2,048 where it does not say."""
        inner = self.config.get("text_config", {})
        for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
            found = self.config.get(name) or inner.get(name)
            if found:
                return int(found)
        return 2048

    @property
    def tokenizer(self) -> Path | None:
        path = self.path / "tokenizer.json"
        return path if path.is_file() else None

    @property
    def fingerprint(self) -> str:
        """Changes with weights, config or tokenizer."""
        digest = hashlib.sha256()
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            path = self.path / name
            digest.update(path.read_bytes() if path.is_file() else b"-")
        for shard in self.shards:
            found = shard.stat()
            if found.st_size <= _HASHED_WHOLE_BYTES:
                digest.update(shard.read_bytes())
            else:
                digest.update(f"{shard.name} {found.st_size} {found.st_mtime_ns}".encode())
                first = min(entry.start for entry in self.tensors if entry.path == shard)
                with shard.open("rb") as source:
                    digest.update(source.read(first))
        return digest.hexdigest()


def inspect(folder: Path, asked: str) -> HfFolder:
    """Check a folder; `BadFile` says what is missing, corrupt or truncated."""
    if not folder.is_dir():
        raise BadFile(asked, f"{folder} is not a folder", next_step="check the path")
    config = read_json(folder / "config.json", asked)
    shards = _shards(folder, asked)
    tensors = tuple(entry for shard in shards for entry in safetensors_file.entries(shard))
    return HfFolder(path=folder, config=config, shards=shards, tensors=tensors)


def read_json(path: Path, asked: str) -> dict[str, Any]:
    """A JSON object from a file; `BadFile` where it is missing or something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(
            asked,
            f"{path.name} is missing in {path.parent}",
            next_step="give a model folder with config.json, *.safetensors and tokenizer.json",
        ) from error
    except ValueError as error:
        raise BadFile(asked, f"{path} is not JSON: {error}", next_step=_AGAIN) from error
    if not isinstance(found, dict):
        raise BadFile(asked, f"{path} does not hold a JSON object", next_step=_AGAIN)
    return found


def _shards(folder: Path, asked: str) -> tuple[Path, ...]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_weight_map(index, asked).values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise BadFile(
                asked,
                f"{len(missing)} of {len(names)} weight files are missing in {folder}",
                evidence=f"Missing: {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}.",
                next_step="finish the download",
            )
        return tuple(folder / name for name in names)
    found = tuple(sorted(folder.glob("*.safetensors")))
    parts = [int(count[1]) for path in found if (count := _PART.search(path.name))]
    if parts and len(parts) < max(parts):
        raise BadFile(
            asked,
            f"{max(parts) - len(parts)} of {max(parts)} weight files are missing in {folder}",
            evidence=f"It holds: {', '.join(path.name for path in found[:3])}.",
            next_step="finish the download",
        )
    if not found:
        others = sorted(path.name for path in folder.iterdir())[:8]
        raise BadFile(
            asked,
            f"no *.safetensors in {folder}",
            evidence=f"It holds: {', '.join(others) or 'nothing'}.",
            next_step="give a folder with safetensors weights, or a .gguf file",
        )
    return found


def _weight_map(index: Path, asked: str) -> dict[str, str]:
    found = read_json(index, asked).get("weight_map")
    if not isinstance(found, dict) or any(Path(str(name)).name != name for name in found.values()):
        raise BadFile(asked, f"{index} has no usable weight_map", next_step=_AGAIN)
    return found
