"""Which cores compute, which serve HTTP, which generate load. Pure: facts in, decision out.

The decision is the same for every engine, so that engines are compared on equal cores. One more
busy core can cost llama.cpp two thirds of its speed (its threads wait for each other by spinning),
so compute cores are never shared with the load generator unless the user asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from quantswarm.models.errors import UserMistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """`server_cores` compute; `process_cores` are all that the server's processes may use (its
    HTTP front end included); `client_cores` belong to the load generator. `reasons` has one entry
    for each of `threads`, `cores`, `client_cores` and, when it applies, `shared`.
    """

    threads: int
    server_cores: tuple[int, ...]
    process_cores: tuple[int, ...]
    client_cores: tuple[int, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-serialisable, for manifests."""
        return asdict(self)


def plan(
    core_groups: Sequence[Sequence[int]],
    *,
    threads: int | None = None,
    server_cores: Sequence[int] | None = None,
    client_cores: Sequence[int] | None = None,
) -> Placement:
    """Divide the usable cores; `core_groups` holds the logical cores of each physical one.

    What is given is taken as it is, the rest is decided. `UserMistake` for cores that this process
    may not use or a thread count under 1.
    """
    usable = [core for group in core_groups for core in group]
    _check(usable, threads, server_cores, client_cores)
    auto_compute, auto_client, why = _divide(core_groups)
    client = tuple(client_cores) if client_cores else _without(auto_client, server_cores)
    compute = tuple(server_cores) if server_cores else _without(auto_compute, client_cores)
    reasons = {
        "cores": "given by the user" if server_cores else why,
        "client_cores": "given by the user" if client_cores else _client_reason(core_groups),
    }
    if threads is None:
        count, reasons["threads"] = len(compute), "one compute thread a compute core"
    else:
        count, reasons["threads"] = threads, "given by the user"
        if server_cores is None:
            compute = _spread(threads, compute, usable)
            reasons["cores"] = f"{threads} threads were asked for"
    shared = sorted(set(compute) & set(client))
    if shared or count > len(compute):
        reasons["shared"] = _shared_reason(shared, count, len(compute))
    return Placement(
        threads=count,
        server_cores=compute,
        process_cores=_process_cores(usable, compute, client, len(core_groups)),
        client_cores=client,
        reasons=reasons,
    )


def parse_cores(text: str) -> tuple[int, ...]:
    """Core numbers from a list like `0,2-4`; `UserMistake` when it is not one."""
    found: list[int] = []
    try:
        for part in text.split(","):
            low, _, high = part.partition("-")
            found.extend(range(int(low), int(high or low) + 1))
    except ValueError:
        found = []
    if not found:
        raise UserMistake(f"cores {text!r}", "not a list of core numbers", next_step="e.g. 0,2-4")
    return tuple(dict.fromkeys(found))


def _check(
    usable: Sequence[int],
    threads: int | None,
    server_cores: Sequence[int] | None,
    client_cores: Sequence[int] | None,
) -> None:
    if not usable:
        raise UserMistake(
            "placement",
            "no core is given to this process",
            next_step="start it with taskset -c 0 or more cores",
        )
    if threads is not None and threads < 1:
        raise UserMistake(
            f"--threads {threads}", "must be at least 1", next_step="e.g. --threads 2"
        )
    for option, cores in (("--server-cores", server_cores), ("--client-cores", client_cores)):
        foreign = sorted(set(cores or ()) - set(usable))
        if foreign:
            raise UserMistake(
                f"{option} {','.join(map(str, cores or ()))}",
                f"this process may not use {', '.join(map(str, foreign))}",
                evidence=f"Usable cores: {', '.join(map(str, usable))}.",
                next_step=f"choose {option} among them",
            )


def _divide(groups: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], tuple[int, ...], str]:
    """(compute cores, load generator's cores, reason) by the number of physical cores."""
    firsts = tuple(group[0] for group in groups)
    if len(groups) == 1:
        return firsts, firsts, "the only core: server and load generator disturb each other"
    clients = max(1, len(groups) // 8)
    client = tuple(core for group in groups[-clients:] for core in group)
    front_end = 1 if len(groups) >= 4 else 0
    compute = firsts[: len(groups) - clients - front_end]
    why = "one logical core a physical core, the same for every engine; "
    if front_end:
        return compute, client, f"{why}one is left to the server's front end"
    return compute, client, f"{why}the front end shares the load generator's core"


def _client_reason(groups: Sequence[Sequence[int]]) -> str:
    if len(groups) == 1:
        return "the only core"
    if len(groups) < 4:
        return "the last core: the load generator must not delay the compute threads"
    return "the last eighth of the cores, at least one, is kept free of the server"


def _without(cores: Sequence[int], taken: Sequence[int] | None) -> tuple[int, ...]:
    """`cores` less those the user gave to the other side, unless nothing would be left."""
    left = tuple(core for core in cores if core not in set(taken or ()))
    return left or tuple(cores)


def _spread(threads: int, compute: Sequence[int], usable: Sequence[int]) -> tuple[int, ...]:
    """Cores for `threads` threads: the planned ones first, then any other."""
    rest = [core for core in usable if core not in set(compute)]
    return tuple([*compute, *rest][:threads])


def _process_cores(
    usable: Sequence[int], compute: Sequence[int], client: Sequence[int], physical: int
) -> tuple[int, ...]:
    """With few cores the front end shares the client's; with more it stays off them."""
    if physical < 4:
        return tuple(sorted({*compute, *client}))
    return tuple(sorted({*compute, *(core for core in usable if core not in set(client))}))


def _shared_reason(shared: Sequence[int], threads: int, cores: int) -> str:
    if shared:
        listed = ", ".join(map(str, shared))
        return f"core {listed} computes and generates load: expect slower, unsteady numbers"
    return f"{threads} threads on {cores} cores wait for each other: expect slower numbers"
