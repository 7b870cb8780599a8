"""The whole comparison: case by case, all tools one after the other, ours before and after."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quantswarm.bench.selftest.cases import PROMPT_TOKENS
from quantswarm.bench.selftest.compare_ledger import read_ledger
from quantswarm.bench.selftest.parity.environment import python_for
from quantswarm.bench.selftest.parity.load_cases import LoadCase
from quantswarm.bench.selftest.parity.own_bounds import broken_bounds
from quantswarm.bench.selftest.parity.peer import Load, Peer, Reported
from quantswarm.bench.selftest.parity.row import Row, row_of
from quantswarm.bench.selftest.parity.watched import Ran, failure, watch
from quantswarm.bench.selftest.peers import OURS
from quantswarm.bench.selftest.segment import LEDGER, Place, known_server
from quantswarm.bench.selftest.verdict import LATEST_SERVER_MS
from quantswarm.models.errors import QuantswarmError, RunFailed

MODEL = "scripted:seed=0"
"""A name that says nothing of how to behave, counts its requests from 0 (the request that proved
the server ready had another), and holds no comma: two of the tools take a comma for their own."""
TOKENIZER = Path(__file__).parents[3] / "models" / "tiny"
START_UP_S = 100.0
"""Most that a tool may take beside the load itself: imports, prompts, evaluation."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A tool and the interpreter that runs it; `obstacle` says why it cannot run."""

    peer: Peer
    python: Path
    obstacle: str | None = None


def ready(peer: Peer, say: Say) -> Ready:
    """Install it where need be; what stands in the way becomes part of the answer."""
    try:
        return Ready(peer=peer, python=python_for(peer, say), obstacle=peer.obstacle())
    except QuantswarmError as error:
        return Ready(peer=peer, python=Path(), obstacle=str(error))


def compare(
    chosen: Sequence[Peer], cases: Sequence[LoadCase], place: Place, say: Say
) -> dict[str, Any]:
    """Every case with every tool: validity of ours, host, and the rows."""
    tools = [ready(peer, say) for peer in chosen]
    done = []
    with _aside(place):
        for case in cases:
            say(f"{case.name}: {case.summary}")
            rows = [
                _turn(tool, turn, case, place.inside(case.name), say)
                for turn, tool in enumerate(in_turn(tools), start=1)
            ]
            done.append((case, tuple(rows)))
    return document(done, place)


def in_turn(tools: Sequence[Ready]) -> list[Ready]:
    """Ours first and, where there are others, once more at the end: what the host did to it, it did
    around them."""
    own = [tool for tool in tools if tool.peer.name == OURS]
    others = [tool for tool in tools if tool.peer.name != OURS]
    return [*own, *others, *(own if others else [])]


def _turn(tool: Ready, turn: int, case: LoadCase, place: Place, say: Say) -> Row:
    name = tool.peer.name
    if tool.obstacle is not None:
        return Row(peer=name, version=tool.peer.version(), turn=turn, not_run=tool.obstacle)
    try:
        row = run_one(tool, turn, case, place.inside(f"{turn}-{name}"))
    except QuantswarmError as error:
        say(f"{case.name}: {name}: {error}")
        return Row(peer=name, version=tool.peer.version(), turn=turn, not_run=str(error))
    say(f"{case.name}: {name}: done in {row.wall_s:.0f} s" if row.wall_s else name)
    return row


def run_one(tool: Ready, turn: int, case: LoadCase, place: Place) -> Row:
    """One tool against one fresh server, and its ledger."""
    with known_server(place, first=True, behaviour=case.behaviour) as server:
        load = load_of(case, server.root_url, place.folder / "tool")
        load.folder.mkdir(parents=True)
        log = place.folder / "tool.log"
        start = tool.peer.start(tool.python, load)
        limit_s = START_UP_S + 3 * case.lasts_s
        ran = watch(start, cores=place.client_cores, log=log, limit_s=limit_s)
    entries = tuple(e for e in read_ledger(place.folder / LEDGER) if e.model == MODEL)
    reported = _read(tool.peer, load, ran, log)
    row = row_of(tool.peer, turn, reported, entries, ran)
    if tool.peer.name != OURS:
        return row
    return replace(row, broken=broken_bounds(case, load.folder, entries))


def _read(peer: Peer, load: Load, ran: Ran, log: Path) -> Reported:
    try:
        return peer.read(load)
    except (RunFailed, KeyError, TypeError, ValueError) as error:
        found = f"ended with status {ran.exit_code}, its result cannot be read: {error!r}"
        raise failure(log, found) from error


def load_of(case: LoadCase, root_url: str, folder: Path) -> Load:
    """A case as the tools are asked."""
    return Load(
        root_url=root_url,
        model=MODEL,
        api=case.api,
        users=case.users,
        requests=case.requests,
        prompt_tokens=PROMPT_TOKENS,
        output_tokens=case.output_tokens,
        lasts_s=case.lasts_s,
        folder=folder,
        tokenizer=TOKENIZER,
    )


@contextmanager
def _aside(place: Place) -> Iterator[None]:
    """Whoever watches stays off the clients' core; the server goes before it on its own."""
    before = os.sched_getaffinity(0)
    if place.server_cores:
        os.sched_setaffinity(0, place.server_cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def document(done: Sequence[tuple[LoadCase, Sequence[Row]]], place: Place) -> dict[str, Any]:
    """The JSON document; `valid` is about ours alone, the rest is a comparison and no verdict."""
    from quantswarm.engines import hardware

    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "host": hardware.host().as_dict(),
        "load_average": list(os.getloadavg()),
        "server_cores": list(place.server_cores),
        "client_cores": list(place.client_cores),
        "valid": all(ours_held(rows) for _, rows in done),
        "cases": [
            {
                "name": case.name,
                "summary": case.summary,
                "behaviour": case.behaviour,
                "users": case.users,
                "requests": case.requests,
                "output_tokens": case.output_tokens,
                "faults": list(case.kinds),
                "rows": [row.as_json() for row in rows],
            }
            for case, rows in done
        ],
    }


def ours_held(rows: Sequence[Row]) -> bool:
    """Whether a run of ours held every bound against a server that kept its schedule.

    One of the two is enough: what broke the other was around it. Without a punctual server nothing
    is shown, and nothing held against us. Where ours was not asked for, there is nothing to hold.
    """
    own = [row for row in rows if row.peer == OURS]
    if any(row.not_run for row in own):
        return False
    fair = [row for row in own if not _late(row)]
    return not fair or any(not row.broken for row in fair)


def _late(row: Row) -> bool:
    late_ms = row.server_lateness_p99_ms
    return late_ms is None or late_ms > LATEST_SERVER_MS
