"""What a variant takes before anybody asks it anything: disk, memory, time; for the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantswarm.bench.subject import Subject
from quantswarm.models import part_sizes


def footprint(subject: Subject, watched: Mapping[str, Any]) -> dict[str, Any] | None:
    """None for a server that we did not start. `watched` are the facts of a cell's watch, which
    have its peaks; they may be missing. docs/footprint.md defines every key."""
    server = subject.server
    if server is None:
        return None
    stored = subject.stored
    parts = part_sizes.sizes(stored.parts) if stored is not None else ()
    held = server.after_load
    return {
        "weights_disk_bytes": subject.facts.get("weights_bytes"),
        "weight_parts": [part.as_json() for part in parts] or None,
        "bits_per_weight": part_sizes.bits_per_weight(parts),
        "loaded_parts": _loaded(subject),
        "memory_after_load_bytes": held.rss_bytes,
        "memory_peak_bytes": watched.get("rss_peak_bytes"),
        "pss_after_load_bytes": held.pss_bytes,
        "gpu_after_load_bytes": held.gpu_bytes,
        "gpu_peak_bytes": watched.get("gpu_peak_bytes"),
        "first_ready_s": server.first_ready_s,
        "load_s": server.load_s,
    }


def _loaded(subject: Subject) -> list[dict[str, Any]] | None:
    """The parts of weights that are quantized while they are loaded; None where they are held as
    they lie on disk, but for another floating-point type."""
    loaded = subject.physics.weights if subject.physics is not None else None
    if loaded is None or subject.stored is None or loaded.parts == subject.stored.parts:
        return None
    return [part.as_json() for part in part_sizes.sizes(loaded.parts)]
