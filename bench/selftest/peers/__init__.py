"""Other load generators, one file each, found because it is there.

Every file defines `PEER`. How they are compared is in `bench/selftest/parity`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from quantswarm.bench.selftest.parity.peer import Peer
from quantswarm.models.errors import UnknownName

OURS = "quantswarm"


@cache
def peers() -> Mapping[str, Peer]:
    """Every module of this folder that defines `PEER`, by name; ours first."""
    found: dict[str, Peer] = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        peer = getattr(loaded, "PEER", None)
        if isinstance(peer, Peer):
            found[peer.name] = peer
    return dict(sorted(found.items(), key=lambda item: (item[0] != OURS, item[0])))


def peer_named(name: str) -> Peer:
    """The peer of that name; `UnknownName` with near misses."""
    known = peers()
    if name not in known:
        raise UnknownName("peer", name, known, next_step="quantswarm selftest --peers")
    return known[name]
