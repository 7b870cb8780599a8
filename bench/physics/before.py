"""From a chosen variant to its physics, before its server is started."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from quantswarm.bench.physics.ceiling import Physics, held_as
from quantswarm.bench.selection import Selection
from quantswarm.engines import hardware
from quantswarm.engines.host_speed.figures import HostSpeed
from quantswarm.engines.host_speed.measured import Ask, Say, host_speed
from quantswarm.engines.kv_bytes import bytes_per_token
from quantswarm.engines.prepare import Prepared
from quantswarm.models import at_load, planned_weights, shapes
from quantswarm.models.errors import BadFile
from quantswarm.models.weight_parts import Weights

_SHARED = "layers are shared between the GPU and the CPU, whose speeds do not add up simply"
_MADE = "what its weights are is known once they are made (quantswarm serve, or bench)"


def physics_of(
    selection: Selection,
    prepared: Prepared,
    *,
    since: datetime | None = None,
    say: Say | None = None,
    ask: Ask | None = None,
) -> Physics | None:
    """None for an engine without weights. The machine is measured where its figures are not known
    yet, or from before `since`; not at all where the weights do not tell what a step reads."""
    if selection.artefact is None:
        return None
    unknown: dict[str, str] = {}
    weights = _weights(selection, unknown)
    engine, spec = selection.engine, prepared.spec
    precision = engine.precision(prepared.command.argv, "")
    kv = None
    if weights is not None and weights.kv_elements is not None:
        computed = (precision.dtype or _stored(weights)) if engine.widens else None
        kv = bytes_per_token(weights.kv_elements, precision, computed)
    if kv is None:
        unknown["kv_bytes_per_token"] = "neither the command nor the headers tell the cache's type"
    host = None
    if spec.device == "cuda" and spec.gpu_layers >= 0:
        unknown["host"] = _SHARED
    elif weights is not None and not weights.unknown:
        host = _host(prepared, unknown, since=since, say=say, ask=ask)
    return Physics(
        weights=weights,
        dtype=held_as(engine.widens, precision.dtype),
        kv_bytes=kv,
        host=host,
        most_streams=engine.streams(spec),
        unknown=unknown,
    )


def _host(
    prepared: Prepared,
    unknown: dict[str, str],
    *,
    since: datetime | None,
    say: Say | None,
    ask: Ask | None,
) -> HostSpeed:
    placed = prepared.placement
    found = host_speed(
        hardware.host(),
        cores=placed.server_cores,
        threads=placed.threads,
        device=prepared.spec.device,
        since=since,
        say=say,
        ask=ask,
    )
    if found.reason:
        unknown["host"] = found.reason
    return found


def _weights(selection: Selection, unknown: dict[str, str]) -> Weights | None:
    artefact = selection.artefact
    assert artefact is not None
    found = None
    if artefact.path.exists() and (artefact.path.is_file() or _has_config(artefact.path)):
        try:
            found = at_load.of_artefact(artefact)
        except BadFile as error:
            unknown["weights"] = str(error).splitlines()[0]
            return None
    elif artefact.model.startswith(shapes.PREFIX):
        found = planned_weights.of_shape(shapes.named(artefact.model), artefact.quant)
        found = found and at_load.held(found, artefact.quant)
    if found is None:
        unknown["weights"] = _MADE
    elif found.unknown:
        unknown["weights"] = found.unknown
    return found


def _has_config(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _stored(weights: Weights) -> str | None:
    """The checkpoint's own type, which engines keep unless it is float32."""
    return weights.stored_as if weights.stored_as in ("bfloat16", "float16") else None
