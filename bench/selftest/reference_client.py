"""The barest client: sockets, epoll, a clock. `python -m …reference_client PLAN.json`.

It sends the requests that it is given, in a closed loop, and looks at nothing that comes but its
last bytes. What it sees late, any client on this host would. Captures go to a spool afterwards.
"""

from __future__ import annotations

import gc
import heapq
import json
import os
import select
import socket
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECV_BYTES = 65_536
LAST_CHUNK = b"0\r\n\r\n"
WAIT_S = 0.05


class Stream:
    """One user's connection and the answer it is reading."""

    __slots__ = ("intended_ns", "segments", "sent_ns", "socket", "stamps", "uid", "used", "user")

    def __init__(self, user: int, address: tuple[str, int]) -> None:
        self.user = user
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.used = 0

    def begin(self, intended_ns: int, uid: str, payload: bytes) -> None:
        """Send a request, at once; `intended_ns` is when its user became free."""
        self.uid, self.stamps = uid, array("q")
        self.segments: list[bytes] = []
        self.used += 1
        self.intended_ns = intended_ns
        self.sent_ns = time.perf_counter_ns()
        self.socket.sendall(payload)


def drive(plan: dict[str, Any]) -> dict[str, Any]:
    """Window stamps, CPU, and the finished answers as fields of a capture."""
    streams = [Stream(user, tuple(plan["address"])) for user in range(plan["users"])]
    requests = iter([(uid, payload.encode("latin-1")) for uid, payload in plan["requests"]])
    gc.collect()
    gc.freeze()
    gc.disable()
    begin_ns = time.perf_counter_ns()
    start_ns = begin_ns + int(plan["warmup_s"] * 1e9)
    end_ns = start_ns + int(plan["duration_s"] * 1e9)
    step_ns = int(plan["warmup_s"] * 1e9 / 2 / plan["users"])
    starts = [(begin_ns + stream.user * step_ns, stream.user) for stream in streams]
    cpu_ns = time.process_time_ns()
    done = _loop(streams, starts, requests, end_ns, end_ns + int(plan["drain_s"] * 1e9))
    cpu_ns = time.process_time_ns() - cpu_ns
    now_ns = time.perf_counter_ns()
    window = {"start_ns": start_ns, "end_ns": end_ns, "swarm_start_ns": begin_ns}
    return {
        "captures": done,
        "window": {**window, "drained_ns": now_ns},
        "cpu_share": cpu_ns / (now_ns - begin_ns),
    }


def _loop(
    streams: list[Stream],
    starts: list[tuple[int, int]],
    requests: Iterator[tuple[str, bytes]],
    end_ns: int,
    last_ns: int,
) -> list[dict[str, Any]]:
    """Read until every answer begun before `end_ns` is whole; `starts` is when each user begins."""
    clock = time.perf_counter_ns
    poll = select.epoll()
    by_number = {stream.socket.fileno(): stream for stream in streams}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    running, done = 0, []
    while (starts or running) and clock() < last_ns:
        while starts and starts[0][0] <= clock():
            streams[heapq.heappop(starts)[1]].begin(clock(), *next(requests))
            running += 1
        wait_s = min(WAIT_S, (starts[0][0] - clock()) / 1e9) if starts else WAIT_S
        for number, _ in poll.poll(max(0.0, wait_s)):
            stream = by_number[number]
            data = stream.socket.recv(RECV_BYTES)
            now_ns = clock()
            stream.stamps.append(now_ns)
            stream.segments.append(data)
            if data.endswith(LAST_CHUNK) or not data:
                done.append(_capture(stream, now_ns))
                running -= 1
                if data and now_ns < end_ns:
                    stream.begin(now_ns, *next(requests))
                    running += 1
                elif not data:
                    poll.unregister(number)
    return done


def _capture(stream: Stream, end_ns: int) -> dict[str, Any]:
    closed = not stream.segments[-1]
    kept = len(stream.segments) - closed
    return {
        "uid": stream.uid,
        "user": stream.user,
        "intended_ns": stream.intended_ns,
        "sent_ns": stream.sent_ns,
        "end_ns": end_ns,
        "conn_reused": stream.used > 1,
        "closed": closed,
        "stamps": stream.stamps[:kept],
        "segments": stream.segments[:kept],
    }


def main(arguments: list[str]) -> int:
    """Leaves `reference.spool` and `reference.json` beside the plan."""
    path = Path(arguments[0])
    plan = json.loads(path.read_text(encoding="utf-8"))
    if plan["cores"]:
        os.sched_setaffinity(0, plan["cores"])
    # As the swarm does: the two are to differ in nothing but what they do themselves.
    from quantswarm.bench.load.priority import go_first

    go_first()
    facts = drive(plan)
    _keep(facts.pop("captures"), plan["output_tokens"], path.with_name("reference.spool"))
    path.with_name("reference.json").write_text(json.dumps(facts), encoding="utf-8")
    return 0


def _keep(done: list[dict[str, Any]], output_tokens: int, path: Path) -> None:
    # Imported after the measurement: nothing but the standard library takes part in it.
    from quantswarm.bench.load.capture import Capture
    from quantswarm.bench.load.spool import SpoolWriter

    spool = SpoolWriter(path)
    for fields in done:
        spool.add(
            Capture(
                **fields,
                failure=None,
                error=None,
                expected_prompt_tokens=None,
                expected_output_tokens=output_tokens,
            )
        )
    spool.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
