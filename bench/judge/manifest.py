"""Reading `manifest.json` and `run.json`: what was started, where, and in which window."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench.judge.window import Window
from quantswarm.bench.slo import Slo, slo_from
from quantswarm.models.errors import BadFile, UserMistake

SCHEMA = 1
STATUSES = ("ok", "failed", "invalid", "skipped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The part of a manifest that judging needs, checked; `facts` is the whole of it, unchecked."""

    engine: str
    quant: str
    model: str
    users: int
    status: str
    reason: str | None
    window: Window | None
    warnings: tuple[Mapping[str, Any], ...]
    harness: Mapping[str, Any]
    facts: Mapping[str, Any]
    slo: Slo | None = None

    @property
    def open_loop(self) -> bool:
        """Whether a schedule decided when requests began, rather than the answers before them."""
        return bool(self.facts.get("arrivals"))

    @property
    def prefix_sharing(self) -> bool:
        """Whether prompts share their beginnings on purpose: a cache hit is then no flaw."""
        return self.facts.get("prefix_sharing") is True

    @property
    def ceiling(self) -> Mapping[str, Any] | None:
        """What the machine could do at best; None in runs from before it was asked."""
        found = self.facts.get("ceiling")
        return found if isinstance(found, Mapping) else None

    def number(self, key: str) -> float | None:
        """A number of the manifest, or None where it is absent or no number."""
        return _number(self.facts.get(key))

    def harness_number(self, key: str) -> float | None:
        """A number that the load generator left about itself, or None."""
        return _number(self.harness.get(key))


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object with our schema number; raises BadFile for anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _bad(path, f"is not JSON ({error})") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise _bad(path, f"is not an object of schema {SCHEMA}")
    return found


def read_manifest(path: Path) -> Manifest:
    """Read and check one cell's manifest; raises BadFile."""
    raw = read_object(path)
    for key in ("engine", "quant", "model"):
        if not isinstance(raw.get(key), str):
            raise _bad(path, f"{key} must be a text, not {raw.get(key)!r}")
    if type(raw.get("users")) is not int:
        raise _bad(path, f"users must be a whole number, not {raw.get('users')!r}")
    if raw.get("status") not in STATUSES:
        raise _bad(path, f"status {raw.get('status')!r} is none of {', '.join(STATUSES)}")
    return Manifest(
        engine=raw["engine"],
        quant=raw["quant"],
        model=raw["model"],
        users=raw["users"],
        status=raw["status"],
        reason=raw.get("reason") or None,
        window=_window(path, raw.get("window")),
        warnings=_warnings(raw.get("warnings")),
        harness=raw.get("harness") or {},
        facts=raw,
        slo=_slo(path, raw.get("slo")),
    )


def _window(path: Path, raw: Any) -> Window | None:
    """None where the swarm never got to a window, as in a cell whose server did not start."""
    if not raw or raw.get("start_ns") is None or raw.get("end_ns") is None:
        return None
    stamps = {key: raw.get(key) for key in ("swarm_start_ns", "start_ns", "end_ns", "drained_ns")}
    if any(value is not None and type(value) is not int for value in stamps.values()):
        raise _bad(path, "window stamps must be whole numbers of nanoseconds")
    if raw["end_ns"] <= raw["start_ns"]:
        raise _bad(path, "the window ends before it starts")
    return Window(**stamps)


def _slo(path: Path, raw: Any) -> Slo | None:
    """None where nothing was promised, as in every run from before there were objectives."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise _bad(path, f"slo must be an object, not {raw!r}")
    try:
        return slo_from(raw, "slo")
    except UserMistake as error:
        raise _bad(path, f"slo: {error.found}") from error


def _warnings(raw: Any) -> tuple[Mapping[str, Any], ...]:
    return tuple(item for item in raw or () if isinstance(item, dict) and item.get("name"))


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _bad(path: Path, found: str) -> BadFile:
    return BadFile(
        path.name,
        found,
        evidence=f"File: {path}.",
        next_step="measure the cell again (quantswarm bench --resume)",
    )
