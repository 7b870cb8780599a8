"""Folders that are either whole or absent: built aside, hashed, sealed, then renamed into place.

`seal.json` is written last and lists every file with size, time and sha256. A folder without one is
not whole. Sizes are checked at each use; a file whose time changed is hashed again.
A lock beside the target lets one process build; whoever holds it may delete what a dead one left.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from quantswarm.models.errors import NoSpace, NotAvailable
from quantswarm.models.space import disk_full

SEAL = "seal.json"
_SCHEMA = 1
_BUILDING = ".building-"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile:
    """One file of a sealed folder, by its path relative to the root."""

    path: str
    size_bytes: int
    modified_ns: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a build made. `paths` None: everything in its folder. Files under another `root` are
    only remembered, never owned, and `paths` names them. `facts` are kept in the seal."""

    root: Path | None = None
    paths: tuple[Path, ...] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


Build = Callable[[Path], Contents]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What a folder held when it was sealed. `root` is where the files lie: the folder itself, or
    another one when the folder only remembers the hashes of files that it does not own."""

    root: Path
    files: tuple[SealedFile, ...]
    facts: Mapping[str, Any]


def read_seal(folder: Path) -> Seal | None:
    """The folder's seal, unverified; None where there is none that can be read."""
    try:
        found = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        if found["schema"] != _SCHEMA:
            return None
        return Seal(
            root=Path(found["root"]) if found["root"] else folder,
            files=tuple(SealedFile(**entry) for entry in found["files"]),
            facts=found["facts"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def damage(seal: Seal) -> str | None:
    """What is wrong with the files of a seal, in words; None when they are as they were sealed."""
    for entry in seal.files:
        path = seal.root / entry.path
        try:
            found = path.stat()
        except OSError:
            return f"{entry.path} is missing"
        if found.st_size != entry.size_bytes:
            return f"{entry.path} has {found.st_size} bytes, {entry.size_bytes} were sealed"
        if found.st_mtime_ns != entry.modified_ns and file_sha256(path) != entry.sha256:
            return f"{entry.path} has changed since it was sealed"
    return None


def sealed_folder(target: Path, *, asked: str, build: Build) -> Seal:
    """The seal of `target`, built first when it is missing or damaged.

    `build` fills the folder that it is given. Whatever ends it, an interrupt included, nothing
    half-made stays behind. Raises `NoSpace` when the disk fills meanwhile, and what `build` raises.
    """
    ready = _whole(target)
    if ready is not None:
        return ready
    _make_writable(target.parent, asked)
    with _locked(target, asked):
        sweep(target.parent)
        ready = _whole(target)
        if ready is not None:
            return ready
        _build_aside(target, asked, build)
    made = read_seal(target)
    assert made is not None
    return made


def _make_writable(folder: Path, asked: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        possible = os.access(folder, os.W_OK)
    except OSError:
        possible = False
    if not possible:
        raise NotAvailable(
            asked,
            f"{folder} cannot be written to",
            next_step="set QUANTSWARM_HOME to a folder of yours",
        )


def _whole(target: Path) -> Seal | None:
    seal = read_seal(target)
    if seal is None:
        return None
    wrong = damage(seal)
    if wrong is None:
        return seal
    if seal.root == target:
        print(f"{target.name}: {wrong}; building it again", file=sys.stderr)
    return None


def _build_aside(target: Path, asked: str, build: Build) -> None:
    _remove_unfinished(target)
    aside = target.with_name(f"{target.name}{_BUILDING}{os.getpid()}")
    try:
        aside.mkdir()
        _write_seal(aside, build(aside))
        if target.exists():
            target.rename(target.with_name(f"{target.name}{_BUILDING}old-{os.getpid()}"))
        aside.rename(target)
    except OSError as error:
        if disk_full(error, target.parent):
            raise NoSpace(
                asked,
                f"the disk that holds {target.parent} is full",
                next_step="free some space, or set QUANTSWARM_HOME to a folder on a larger disk",
            ) from error
        raise
    finally:
        _remove_unfinished(target)


def _remove_unfinished(target: Path) -> None:
    """Only for the holder of the target's lock: then no living process owns these."""
    for left in target.parent.glob(f"{glob.escape(target.name)}{_BUILDING}*"):
        shutil.rmtree(left, ignore_errors=True)


def _write_seal(folder: Path, made: Contents) -> None:
    base = made.root or folder
    paths = made.paths or sorted(path for path in base.rglob("*") if path.is_file())
    seal = {
        "schema": _SCHEMA,
        "root": str(made.root) if made.root else None,
        "files": [asdict(_seal_file(path, base)) for path in paths],
        "facts": dict(made.facts),
    }
    with (folder / SEAL).open("w", encoding="utf-8") as out:
        json.dump(seal, out, indent=1)
        out.flush()
        os.fsync(out.fileno())


def _seal_file(path: Path, base: Path) -> SealedFile:
    found = path.stat()
    return SealedFile(
        path=path.relative_to(base).as_posix(),
        size_bytes=found.st_size,
        modified_ns=found.st_mtime_ns,
        sha256=file_sha256(path),
    )


def file_sha256(path: Path) -> str:
    """sha256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def sweep(folder: Path) -> None:
    """Delete what builders that are gone left in `folder`: theirs is what nobody holds the lock of.

    Asking the lock, not the process table, is right for containers that share the folder as well.
    A build inside a build is safe: the outer one's lock looks taken to this process too.
    """
    for left in folder.glob(f"*{_BUILDING}*"):
        target = left.with_name(left.name.split(_BUILDING)[0])
        with _lock_file(target) as lock:
            if _try_lock(lock):
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _locked(target: Path, asked: str) -> Iterator[None]:
    with _lock_file(target) as lock:
        if not _try_lock(lock):
            print(f"{asked}: another process builds it; waiting", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _lock_file(target: Path) -> Iterator[int]:
    lock = os.open(target.with_name(f".{target.name}{_LOCK}"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield lock
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
