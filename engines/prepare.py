"""From what the user asked for to what will be run, with the reason of every automatic choice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantswarm.engines import gpu_layers, hardware, placement
from quantswarm.engines.base import Availability, Command, Engine, ServeSpec
from quantswarm.engines.hardware import Host
from quantswarm.engines.placement import Placement
from quantswarm.engines.readiness import free_port
from quantswarm.engines.registry import flags_for, require_device
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import UserMistake
from quantswarm.models.layer_count import layers_of
from quantswarm.models.recipes import Recipe

DEFAULT_CONTEXT_TOKENS = 2048
DEFAULT_USERS = 8
PREFIX_CACHE = "prefix_cache"
"""The engine option of those that can keep prompts for later requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The user's choices; None means "decide for me". `port` 0 takes any free one.

    `users` is the largest number of requests at once that the server must hold, `request_tokens`
    the most that one of them holds, prompt and answer together. `prefix_cache` is for load that is
    about it: engines that have such an option turn it on, unless `engine_options` say otherwise.
    `gpu_layers` is `all`, `half`, `none`, a number, or None. `engine_options` are passed to the
    engine as they are.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    users: int | None = None
    threads: int | None = None
    server_cores: tuple[int, ...] | None = None
    client_cores: tuple[int, ...] | None = None
    context_tokens: int | None = None
    request_tokens: int | None = None
    prefix_cache: bool = False
    gpu_layers: str | None = None
    eager: bool = False
    api_key_file: Path | None = None
    log_requests: bool = False
    served_name: str | None = None
    engine_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All that is decided before a server starts; a warning has name, seen, cause and advice."""

    spec: ServeSpec
    flags: tuple[str, ...]
    command: Command
    placement: Placement
    warnings: tuple[Mapping[str, str], ...] = ()

    def document(self) -> dict[str, Any]:
        """What `serve --dry-run` prints; secrets stand in it as file names only."""
        return {
            "argv": list(self.command.argv),
            "env": dict(self.command.env),
            "reasons": {**self.placement.reasons, **self.command.reasons},
            "placement": self.placement.as_dict(),
            "warnings": [dict(warning) for warning in self.warnings],
        }


def prepare(
    engine: Engine,
    recipe: Recipe | None,
    artefact: Artefact | None,
    options: ServeOptions,
    *,
    host: Host | None = None,
    device: str | None = None,
    found: Availability | None = None,
) -> Prepared:
    """Decide placement, device, context and slots, and ask the engine for its command.

    `recipe` and `artefact` are None for an engine without weights. `host` and `device` ("cpu" or
    "cuda") default to this machine and to what the engine's probe says, or said (`found`).
    """
    machine = host or hardware.host()
    flags = flags_for(engine, recipe) if recipe is not None else ()
    if artefact is None and engine.formats:
        raise UserMistake(
            f"engine {engine.name}", "needs weights, and none were given", next_step="--quant NAME"
        )
    placed = placement.plan(
        machine.core_groups,
        threads=options.threads,
        server_cores=options.server_cores,
        client_cores=options.client_cores,
    )
    reasons: dict[str, str] = {}
    warnings: list[Mapping[str, str]] = []
    chosen, reasons["device"] = _device(engine, machine, device, found)
    require_device(recipe, chosen)
    layers = _gpu_layers(options.gpu_layers, chosen, machine, artefact, reasons, warnings)
    slots, reasons["slots"] = _slots(options)
    own = _own_options(engine, recipe, options, reasons)
    spec = ServeSpec(
        host=options.host,
        port=options.port or free_port(options.host),
        served_name=options.served_name or (artefact.model if artefact else engine.name),
        threads=placed.threads,
        cores=placed.server_cores,
        slots=slots,
        context_tokens=_context(options, artefact, reasons),
        device=chosen,
        gpu_layers=layers,
        eager=options.eager,
        api_key_file=options.api_key_file,
        log_requests=options.log_requests,
        options={**_facts(artefact, placed, machine), **own},
        reasons=reasons,
    )
    if artefact is not None:
        engine.require_servable(artefact, spec)
    warnings += _told(engine, machine, recipe, spec)
    return Prepared(
        spec=spec,
        flags=flags,
        command=engine.command(artefact, spec, flags),
        placement=placed,
        warnings=tuple(warnings),
    )


def _slots(options: ServeOptions) -> tuple[int, str]:
    if options.users:
        return options.users, f"one slot for each of {options.users} users at once"
    return DEFAULT_USERS, "the default"


def _told(
    engine: Engine, host: Host, recipe: Recipe | None, spec: ServeSpec
) -> list[Mapping[str, str]]:
    """The engine's own warnings, as manifests store them."""
    return documents(engine.warnings(host, recipe.name if recipe else None, spec))


def documents(found: Iterable[tuple[str, str, str, str]]) -> list[Mapping[str, str]]:
    """Warnings of an engine with their parts named."""
    return [dict(zip(("name", "seen", "cause", "advice"), one, strict=True)) for one in found]


def _device(
    engine: Engine, host: Host, given: str | None, found: Availability | None
) -> tuple[str, str]:
    if given is not None:
        return given, "given"
    if not host.gpus:
        return "cpu", f"no GPU: {host.no_gpu_reason}"
    built_for = (found or engine.probe()).device
    if built_for == "cuda":
        return "cuda", f"{host.gpus[0].name} is present and the engine is built for it"
    return "cpu", f"{host.gpus[0].name} is present, but the installed engine is built for the CPU"


def _gpu_layers(
    asked: str | None,
    device: str,
    host: Host,
    artefact: Artefact | None,
    reasons: dict[str, str],
    warnings: list[Mapping[str, str]],
) -> int:
    """Layers on the GPU, -1 for all; asking for some without a GPU is said aloud, not refused."""
    why = host.no_gpu_reason or "the installed engine is built for the CPU only"
    found = gpu_layers.decide(
        asked,
        no_gpu="" if device == "cuda" else why,
        model_layers=layers_of(artefact) if artefact is not None else None,
    )
    if found.reason:
        reasons["gpu_layers"] = found.reason
    if found.warning is not None:
        warnings.append(found.warning)
    return found.layers


def _context(options: ServeOptions, artefact: Artefact | None, reasons: dict[str, str]) -> int:
    """Tokens of one request, prompt and answer together."""
    most = artefact.context_tokens if artefact else None
    if options.context_tokens is not None:
        if most and options.context_tokens > most:
            raise UserMistake(
                f"--context {options.context_tokens}",
                f"the model was made for {most} tokens",
                next_step=f"--context {most} or less",
            )
        reasons["context_tokens"] = "given by the user"
        return options.context_tokens
    wanted = max(DEFAULT_CONTEXT_TOKENS, options.request_tokens or 0)
    if most and most < wanted:
        reasons["context_tokens"] = "all that the model was made for"
        return most
    if wanted > DEFAULT_CONTEXT_TOKENS:
        reasons["context_tokens"] = f"the longest request that will come has {wanted} tokens"
    else:
        reasons["context_tokens"] = f"the default, {DEFAULT_CONTEXT_TOKENS} tokens a request"
    return wanted


def _own_options(
    engine: Engine, recipe: Recipe | None, options: ServeOptions, reasons: dict[str, str]
) -> dict[str, str]:
    """The recipe's, the user's over them, and the prefix cache where the load wants it, the engine
    has it and nobody set it."""
    recipes_own = recipe.serve_options.get(engine.name, {}) if recipe else {}
    given = {**recipes_own, **options.engine_options}
    if options.prefix_cache and PREFIX_CACHE in engine.options and PREFIX_CACHE not in given:
        given[PREFIX_CACHE] = "on"
        reasons[PREFIX_CACHE] = "on: the prompts of this load share their beginnings on purpose"
    return given


def _facts(artefact: Artefact | None, placed: Placement, host: Host) -> dict[str, str]:
    """What engines may want to know and cannot look up, `command` being pure."""
    facts = {"process_cores": _joined(placed.process_cores), "cpu_isa": ",".join(host.isa)}
    if host.memory_bytes is not None:
        facts["memory_bytes"] = str(host.memory_bytes)
    elements = _kv_elements(artefact.path / "config.json") if artefact else None
    if elements is not None:
        facts["kv_elements_per_token"] = str(elements)
    return facts


def _joined(cores: Sequence[int]) -> str:
    return ",".join(map(str, cores))


def _kv_elements(config: Path) -> int | None:
    """Numbers stored for one token in the key-value cache, None when the file does not tell."""
    from quantswarm.models.weight_parts import attention_of

    try:
        facts = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return attention_of(facts)[0]
