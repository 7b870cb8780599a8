"""What a cell drives: an endpoint, and all that is known about the server behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quantswarm.bench.load.fit import check_fits, need_of
from quantswarm.bench.load.scenario import Scenario
from quantswarm.bench.physics.ceiling import Physics
from quantswarm.bench.selection import NO_QUANT, Selection
from quantswarm.engines.prepare import Prepared, ServeOptions
from quantswarm.engines.server import Server
from quantswarm.engines.server import remarks as engine_remarks
from quantswarm.models import provenance, weight_parts
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import BadFile
from quantswarm.models.weight_parts import Weights

EXTERNAL = "external"
"""The engine's name for a server that quantswarm did not start (`swarm --url`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """`facts` go into the manifest as they are; `server` is None for an external endpoint.

    `pinned_by` names the engine whose own request fields may be sent; None for any other server.
    `physics` is what its ceilings follow from, None for a server without weights of ours; `stored`
    are its weights as they lie on disk, None also where their headers do not tell.
    """

    engine: str
    quant: str
    model: str
    base_url: str
    served_name: str
    keeps_alive: bool = True
    pinned_by: str | None = None
    api_key_file: Path | None = None
    tokenizer: Path | None = None
    client_cores: tuple[int, ...] = ()
    warnings: Sequence[Mapping[str, Any]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    server: Server | None = None
    physics: Physics | None = None
    stored: Weights | None = None


def fitted(
    options: ServeOptions, scenario: Scenario, artefact: Artefact | None, *, seed: int
) -> ServeOptions:
    """The options with room for the scenario's longest request, and with what it is about.

    `UserMistake`, with the numbers, when the model or a given context has no such room.
    """
    need = need_of(scenario, artefact.tokenizer if artefact else None, seed=seed)
    made_for = artefact.context_tokens if artefact else None
    check_fits(need, made_for=made_for, given=options.context_tokens)
    return replace(
        options,
        request_tokens=need.tokens if need else None,
        prefix_cache=scenario.shares_prefixes,
    )


def served(
    selection: Selection,
    prepared: Prepared,
    server: Server,
    remarks: Sequence[Mapping[str, Any]] = (),
    physics: Physics | None = None,
) -> Subject:
    """The subject for a server that we started; `remarks` are warnings from before its start."""
    engine, artefact = selection.engine, selection.artefact
    return Subject(
        engine=engine.name,
        quant=selection.quant,
        model=selection.model,
        base_url=server.base_url,
        served_name=server.served_name,
        keeps_alive=engine.keeps_alive,
        pinned_by=engine.name,
        api_key_file=prepared.spec.api_key_file,
        tokenizer=artefact.tokenizer if artefact else None,
        client_cores=prepared.placement.client_cores,
        warnings=(
            *prepared.warnings,
            *engine_remarks(engine, selection.quant, prepared.spec, server),
            *remarks,
        ),
        facts={**planned_facts(selection, prepared), "load_s": server.load_s},
        server=server,
        physics=physics,
        stored=_stored(artefact) if artefact else None,
    )


def _stored(artefact: Artefact) -> Weights | None:
    try:
        return weight_parts.of_artefact(artefact)
    except BadFile:
        return None


def planned_facts(selection: Selection, prepared: Prepared) -> dict[str, Any]:
    """What is known of a server before it starts; a cell that never started has these too."""
    artefact, found = selection.artefact, selection.found
    return {
        **prepared.document(),
        "versions": {selection.engine.name: found.version if found else None},
        "device": prepared.spec.device,
        "weights_bytes": artefact.weights_bytes if artefact else None,
        "artefact_sha256": artefact.sha256 if artefact else None,
        "quantization": provenance.in_short(artefact) if artefact else None,
    }


def external(url: str, served_name: str, api_key_file: Path | None) -> Subject:
    """The subject for an endpoint that is already running; no vendor's field is sent to it."""
    return Subject(
        engine=EXTERNAL,
        quant=NO_QUANT,
        model=served_name,
        base_url=url,
        served_name=served_name,
        api_key_file=api_key_file,
    )
