"""The environment of each tool, under `$QUANTSWARM_HOME/peers`, made at its first use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from quantswarm.bench.selftest.parity.peer import Peer
from quantswarm.bench.tool_environment import folder_for, python_with
from quantswarm.engines.provision.tools import Run


def python_for(peer: Peer, say: Callable[[str], None], *, run: Run | None = None) -> Path:
    """The interpreter that runs a tool, its environment made first where that is missing.

    `NotAvailable` with the cause where that is not possible.
    """
    if peer.requirement is None:
        return Path(sys.executable)
    wanted = (peer.requirement, *peer.needs)
    return python_with(peer.name, wanted, folder_for("peers", peer.requirement), say, run=run)
