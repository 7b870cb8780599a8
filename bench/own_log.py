"""A server's log outside any run directory, for commands that keep nothing else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantswarm.models.errors import UserMistake


@contextmanager
def own_log(command: str, engine: str) -> Iterator[Path]:
    """Where it goes. One that is not empty stays after a failure, whose message names it; a user's
    mistake is none of the server's."""
    folder = Path(tempfile.mkdtemp(prefix=f"quantswarm-{command}-"))
    worth_reading = False
    try:
        yield folder / f"{engine}.log"
    except UserMistake:
        raise
    except Exception:
        worth_reading = any(folder.iterdir())
        raise
    finally:
        if not worth_reading:
            shutil.rmtree(folder, ignore_errors=True)
