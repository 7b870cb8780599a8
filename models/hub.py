"""Catalogue models from the hub, through its own client and cache; clear words when it is away."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from quantswarm.models.artefact import ModelSource
from quantswarm.models.catalogue import CatalogueEntry
from quantswarm.models.errors import BadFile, NotAvailable
from quantswarm.models.quantized import Quantized

_ORIGINAL = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model", "LICENSE*")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_PROBE_TIMEOUT_S = 5.0


def source(entry: CatalogueEntry, quant: str | None = None) -> ModelSource:
    """The entry's ready-made weights of `quant` if it has any, else its original; downloaded when
    needed.

    Raises `NotAvailable` within seconds when the hub does not answer.
    """
    from quantswarm.models.source import from_folder

    ready = entry.ready_gguf(quant)
    if ready is not None and entry.gguf is not None:
        return _ready_made(entry, entry.gguf, ready)
    repo, revision = entry.ready_made(quant) or (entry.repo, entry.revision)
    folder = fetch(repo, revision, _ORIGINAL, gated=entry.gated and repo == entry.repo)
    return from_folder(folder, name=entry.name)


def planned(entry: CatalogueEntry, quant: str | None = None) -> ModelSource:
    """The entry as it would be after a download, or as it is when the cache has it."""
    from quantswarm.models.source import from_folder

    ready = entry.ready_made(quant)
    repo, revision = ready or (entry.repo, entry.revision)
    local = cached(repo, revision, _ORIGINAL)
    if local is not None:
        return from_folder(local, name=entry.name)
    commit = revision or "main"
    folder = _cache_folder() / f"models--{repo.replace('/', '--')}" / "snapshots" / commit
    return ModelSource(
        name=entry.name,
        folder=folder,
        gguf=None,
        tokenizer=folder / "tokenizer.json",
        context_tokens=entry.context_tokens,
        parameters=entry.parameters,
        random_weights=False,
        fingerprint=hashlib.sha256(f"{repo}@{commit}".encode()).hexdigest(),
        quantized=Quantized(quant=quant, method=quant.upper()) if ready and quant else None,
    )


def _ready_made(entry: CatalogueEntry, repo: str, file: str) -> ModelSource:
    from quantswarm.models.source import from_gguf

    folder = fetch(repo, entry.gguf_revision, (file,), gated=False)
    tokenizer: Path | None = None
    try:
        original = fetch(entry.repo, entry.revision, _TOKENIZER, gated=entry.gated)
        tokenizer = original / "tokenizer.json"
    except NotAvailable:
        pass  # the server has the tokenizer inside; only counting beforehand goes without
    return from_gguf(folder / file, name=entry.name, tokenizer=tokenizer)


def fetch(repo: str, revision: str | None, patterns: tuple[str, ...], *, gated: bool) -> Path:
    """The local folder of a repository's snapshot with the files of these patterns."""
    local = cached(repo, revision, patterns)
    if local is not None:
        return local
    asked = f"model {repo!r} of the hub"
    if _offline():
        raise _away(asked, "it is not in the local cache, and HF_HUB_OFFLINE forbids a download")
    _require_reachable(asked)
    return _download(asked, repo, revision, patterns, gated)


def cached(repo: str, revision: str | None, patterns: tuple[str, ...]) -> Path | None:
    """The snapshot when the local cache has it with these files, whole; no network is used."""
    try:
        folder = Path(_snapshot(repo, revision, patterns, local_files_only=True))
    except (OSError, ValueError):
        return None
    return folder if _complete(folder, patterns) else None


def _complete(folder: Path, patterns: tuple[str, ...]) -> bool:
    """A cache may hold a part only: what an earlier command asked for."""
    from quantswarm.models import hf_folder

    if patterns != _ORIGINAL:
        return (folder / patterns[0]).is_file()
    try:
        hf_folder.inspect(folder, "cached model")
    except BadFile:
        return False
    return True


def _download(
    asked: str, repo: str, revision: str | None, patterns: tuple[str, ...], gated: bool
) -> Path:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        return Path(_snapshot(repo, revision, patterns, local_files_only=False))
    except (GatedRepoError, RepositoryNotFoundError) as error:
        cure = "accept its licence on the hub and set HF_TOKEN" if gated else "check the catalogue"
        raise NotAvailable(
            asked, "the hub refuses it", evidence=_first_line(error), next_step=cure
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise _away(asked, "the download failed", _first_line(error)) from error


def _snapshot(
    repo: str, revision: str | None, patterns: tuple[str, ...], *, local_files_only: bool
) -> str:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise NotAvailable(
            f"model {repo!r} of the hub",
            "the package huggingface_hub is not installed",
            next_step="make setup",
        ) from error
    options: dict[str, Any] = {"local_files_only": local_files_only}
    return str(snapshot_download(repo, revision=revision, allow_patterns=list(patterns), **options))


def _require_reachable(asked: str) -> None:
    """One connection with a short time-out: the client's own retries take minutes."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return
    from huggingface_hub.constants import ENDPOINT

    address = urlsplit(ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), _PROBE_TIMEOUT_S).close()
    except OSError as error:
        raise _away(asked, f"{address.hostname} does not answer", str(error)) from error


def _away(asked: str, found: str, evidence: str = "") -> NotAvailable:
    return NotAvailable(
        asked,
        found,
        evidence=evidence,
        next_step="give a local folder or .gguf file as model, "
        "or use tiny or synthetic/0.5b, which need no hub",
    )


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _cache_folder() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
