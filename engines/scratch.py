"""A server's own folder for temporary files: what it leaves there goes when it goes.

vLLM leaves eight sockets and files at every start. PyTorch keeps there what the next start is to
find, the headers that it has compiled for a quarter of a minute: a link leads to a lasting place.
"""

from __future__ import annotations

import getpass
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from quantswarm.models import store


def make() -> Path:
    """A new folder, for `TMPDIR`; whoever ends the server removes it."""
    folder = Path(tempfile.mkdtemp(prefix="quantswarm-"))
    with suppress(KeyError, OSError):  # a user without a name, or a full disk: compiled again
        user = re.sub(r'[\\/:*?"<>|]', "_", getpass.getuser())
        kept = store.home() / "torchinductor"
        kept.mkdir(parents=True, exist_ok=True)
        (folder / f"torchinductor_{user}").symlink_to(kept.absolute())
    return folder
