"""What a server says of its model on one line of its log, and how that is read back; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FACTS = "quantswarm: loaded "
CACHE = "quantswarm: cache "


def loaded(log: str) -> Mapping[str, Any]:
    """Empty where the model was not loaded yet, or the log is another server's."""
    return _last(log, FACTS)


def cache(log: str) -> Mapping[str, Any]:
    """Of continuous batching; empty without it."""
    return _last(log, CACHE)


def _last(log: str, mark: str) -> Mapping[str, Any]:
    lines = [line for line in log.splitlines() if line.startswith(mark)]
    try:
        found = json.loads(lines[-1][len(mark) :]) if lines else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
