"""How an artefact was quantized, in short: what its recipe noted, or what its own config says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantswarm.models.artefact import Artefact
from quantswarm.models.store import PROVENANCE

_OF_SETTINGS = ("rows", "tokens", "seed", "text")
_OF_GGUF = ("method", "type", "bits_per_weight", "importance")


def in_short(artefact: Artefact) -> dict[str, Any] | None:
    """For manifests; None where nothing was quantized, or nothing is known of it.

    `source` is `recipe` (made here) or `checkpoint` (ready-made). `bits` and `activation_bits` are
    those of a number, `group_size` the inputs that share a scale (-1 or None: all of an output's).
    `calibration` has rows, tokens, seed, the text's sha256 (None for the built-in text), and the
    origin and sha256 of the rows. Missing keys were not told.
    """
    if artefact.format == "gguf":
        account = _read(artefact.path.with_name(PROVENANCE))
        told = {name: account[name] for name in _OF_GGUF if name in account}
        return {"source": "recipe", **told} if told else None
    config = _read(artefact.path / "config.json").get("quantization_config")
    if not isinstance(config, Mapping):
        return None
    account = _read(artefact.path / PROVENANCE)
    found = {"source": "recipe" if account else "checkpoint", **_scheme(config)}
    if "symmetric" in account:
        found["symmetric"] = account["symmetric"]  # AWQ's layout has zero points in either case
    if account.get("calibration"):
        settings = account.get("settings") or {}
        told = {name: settings[name] for name in _OF_SETTINGS if name in settings}
        found["calibration"] = {**told, **account["calibration"]}
    if "versions" in account:
        found["versions"] = account["versions"]
    return found


def _scheme(config: Mapping[str, Any]) -> dict[str, Any]:
    """A `quantization_config` of any of the methods, under the same names."""
    method = str(config.get("quant_method", "")).lower()
    groups = config.get("config_groups")
    first: Mapping[str, Any] = next(iter(groups.values()), {}) if groups else {}
    weights = first.get("weights") or {}
    found = {
        "method": method or None,
        "layout": _first(first, config, names=("format", "checkpoint_format", "version")),
        "type": weights.get("type"),
        "bits": _first(weights, config, names=("num_bits", "bits", "w_bit")),
        "activation_bits": (first.get("input_activations") or {}).get("num_bits"),
        "group_size": _first(weights, config, names=("group_size", "q_group_size")),
        "symmetric": _symmetric(weights, config),
        "desc_act": config.get("desc_act"),
        "actorder": weights.get("actorder"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _symmetric(weights: Mapping[str, Any], config: Mapping[str, Any]) -> bool | None:
    if "zero_point" in config:
        return not config["zero_point"]
    found = _first(weights, config, names=("symmetric", "sym"))
    return found if isinstance(found, bool) else None


def _first(*places: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """What the first place says by the first of its names."""
    said = (place[name] for place in places for name in names if place.get(name) is not None)
    return next(said, None)


def _read(path: Path) -> Mapping[str, Any]:
    """A JSON object; an empty one where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
