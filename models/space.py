"""Checks made before something large is built: enough disk, enough memory, said with numbers."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from quantswarm.models.errors import NoSpace

_KEPT_FREE_BYTES = 64 * 2**20
"""Left for everyone else: a disk filled to the last byte breaks more than this build."""


def readable(size_bytes: int) -> str:
    """A size with three digits or so: '14.5 GiB', '812 MiB'."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def require_disk(folder: Path, needed_bytes: int, asked: str) -> None:
    """Raise `NoSpace` unless the disk of `folder` (or its nearest existing parent) has room."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes + _KEPT_FREE_BYTES:
        raise NoSpace(
            asked,
            f"needs {readable(needed_bytes)} of disk, {readable(free_bytes)} are free",
            evidence=f"Looked at the disk that holds {existing}.",
            next_step="free some space, or set QUANTSWARM_HOME to a folder on a larger disk",
        )


def available_memory_bytes() -> int | None:
    """What the kernel says can be used without swapping; None where it does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def require_memory(needed_bytes: int, asked: str) -> None:
    """Raise `NoSpace` when the kernel says that less memory than this is available."""
    available = available_memory_bytes()
    if available is not None and available < needed_bytes:
        raise NoSpace(
            asked,
            f"needs {readable(needed_bytes)} of memory, {readable(available)} are available",
            next_step="stop other programs, or choose a smaller model",
        )


def disk_full(error: OSError, folder: Path) -> bool:
    """Whether a write failed for want of room; where numpy gives no number, the disk decides."""
    if error.errno is None:
        return shutil.disk_usage(folder).free < _KEPT_FREE_BYTES
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
