"""A server's log outside any run directory, for commands that keep nothing else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def own_log(command: str, engine: str) -> Iterator[Path]:
    """Where it goes; it stays after a failure, whose message names it."""
    folder = Path(tempfile.mkdtemp(prefix=f"quantswarm-{command}-"))
    yield folder / f"{engine}.log"
    shutil.rmtree(folder, ignore_errors=True)
