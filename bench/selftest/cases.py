"""What the harness is held against: streams of known timing, and how exactly they must be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantswarm.models.errors import UnknownName

TTFT_P50, TTFT_P99 = "ttft_p50_error_ms", "ttft_p99_error_ms"
ITL_P50, ITL_P99 = "itl_p50_error_ms", "itl_p99_error_ms"
TPOT, THROUGHPUT = "tpot_error", "throughput_error"
CPU_SHARE = "cpu_share"
MEASURES = (TTFT_P50, TTFT_P99, ITL_P50, ITL_P99, TPOT, THROUGHPUT)
"""What both clients are held against; shares (TPOT, throughput) are parts of the true value."""

PROMPT_TOKENS = 64

HOLDS, HOLDS_OR_FLAGGED, FLAGGED = "holds", "holds-or-flagged", "flagged"
"""What a case wants: every bound kept; kept, or the run called invalid by the harness itself; the
latter in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedCase:
    """A load of known timing. `bounds` are upper limits, by measure; `server_must_keep_up` False
    where more is asked than any server could send, so that its lateness says nothing."""

    name: str
    summary: str
    users: int
    behaviour: str
    output_tokens: int
    warmup_s: float
    duration_s: float
    drain_s: float
    bounds: Mapping[str, float] = field(default_factory=dict)
    wants: str = HOLDS
    server_must_keep_up: bool = True
    has_reference: bool = True
    prompt_tokens: int = PROMPT_TOKENS

    @property
    def longest_s(self) -> float:
        """Most that one run of its load lasts, without starting and stopping anything."""
        return self.warmup_s + self.duration_s + self.drain_s

    @property
    def usual_s(self) -> float:
        """What one run lasts when nothing goes wrong: its answers fill half the drain at most."""
        return self.warmup_s + self.duration_s + self.drain_s / 2

    @property
    def runs(self) -> int:
        """How many runs it takes, without repeats."""
        return 3 if self.has_reference else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultCase:
    """Faults of the server, each for one request: `expected` maps a fault to the classes that the
    harness may call it. `server_dies` where the last of them ends the server."""

    name: str
    summary: str
    users: int
    expected: Mapping[str, tuple[str, ...]]
    duration_s: float
    server_dies: bool = False

    @property
    def behaviour(self) -> str:
        """Every second request meets a fault, each fault once, in turn."""
        faults = [f"fault={said}@index:{2 * at + 1}" for at, said in enumerate(self.expected)]
        return ",".join(["ttft=5ms,itl=2ms", *faults])

    def classes_of(self, kind: str) -> tuple[str, ...]:
        """What a fault of that kind may be called."""
        return next(classes for said, classes in self.expected.items() if _kind(said) == kind)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The faults without their conditions, as the ledger names them."""
        return tuple(map(_kind, self.expected))


def _kind(said: str) -> str:
    return said.partition("@")[0]


ONE_STREAM = TimedCase(
    name="one-stream",
    summary="1 stream, TTFT 50 ms, ITL 10 ms, 500 tokens",
    users=1,
    behaviour="ttft=50ms,itl=10ms",
    output_tokens=500,
    warmup_s=0.0,
    duration_s=5.5,
    drain_s=7.0,
    bounds={TTFT_P50: 1.0, TTFT_P99: 3.0, ITL_P50: 0.1, ITL_P99: 1.0, TPOT: 0.001},
)
MANY_STREAMS = TimedCase(
    name="64-streams-1000",
    summary="64 streams, 1,000 tok/s, each at its own pace",
    users=64,
    behaviour="ttft=64ms,itl=uniform(48ms..80ms)",
    output_tokens=32,
    warmup_s=1.5,
    duration_s=5.0,
    drain_s=5.0,
    bounds={TTFT_P99: 5.0, ITL_P99: 2.0, TPOT: 0.005, THROUGHPUT: 0.005},
)
LOCKSTEP = TimedCase(
    name="64-streams-5000-lockstep",
    summary="64 streams, 5,000 tok/s, all emitting together every 12.8 ms",
    users=64,
    behaviour="ttft=20ms,lockstep=12800us",
    output_tokens=150,
    warmup_s=1.5,
    duration_s=5.0,
    drain_s=5.0,
    bounds={TTFT_P99: 10.0, ITL_P99: 5.0, CPU_SHARE: 0.5},
)
CROWD = TimedCase(
    name="256-streams-5000-lockstep",
    summary="256 streams, 5,000 tok/s, all emitting together every 51.2 ms, one core",
    users=256,
    behaviour="ttft=60ms,lockstep=51200us",
    output_tokens=40,
    warmup_s=1.5,
    duration_s=5.0,
    drain_s=5.0,
    bounds={ITL_P99: max(5.0, 0.1 * 51.2)},
    wants=HOLDS_OR_FLAGGED,
)
# Making a prompt of that length costs the client ten times what counting it costs the server: in a
# closed loop without any latency the client is the one that is never done.
SATURATED = TimedCase(
    name="saturated",
    summary="64 users, long prompts, answers at once: the harness must call itself invalid",
    users=64,
    behaviour="ttft=0ms,itl=0ms,per_segment=64",
    prompt_tokens=24_000,
    output_tokens=64,
    warmup_s=1.0,
    duration_s=3.0,
    drain_s=6.0,
    wants=FLAGGED,
    server_must_keep_up=False,
    has_reference=False,
)
FAULTS = FaultCase(
    name="faults",
    summary="every fault its own class, never a success, counts exactly the ledger's",
    users=4,
    duration_s=3.5,
    expected={
        "400": ("http_4xx",),
        "401": ("http_401",),
        "404": ("http_404",),
        "429": ("http_429",),
        "500": ("http_500",),
        "502": ("http_5xx",),
        "503": ("http_503",),
        "html": ("not_sse",),
        "hang": ("timeout",),
        "error-event@token:3": ("error_event",),
        "malformed@token:3": ("malformed",),
        "reset@token:3": ("reset",),
        "close@token:3": ("truncated",),
        "truncated@token:3": ("short",),
        "stall@token:3": ("stalled",),
        "slow-loris@token:3@for:20ms": ("timeout",),
    },
)
DYING_SERVER = FaultCase(
    name="dying-server",
    summary="a server that freezes, then dies: exactly the ledger's requests, the rest refused",
    users=1,
    duration_s=3.5,
    server_dies=True,
    expected={
        "freeze@token:3@for:1200ms": ("stalled",),
        "exit@token:3": ("reset", "truncated"),
    },
)
CASES: tuple[TimedCase | FaultCase, ...] = (
    FAULTS,
    DYING_SERVER,
    ONE_STREAM,
    MANY_STREAMS,
    LOCKSTEP,
    CROWD,
    SATURATED,
)


def case_named(name: str) -> TimedCase | FaultCase:
    """The case of that name; `UnknownName` with near misses."""
    known = {case.name: case for case in CASES}
    if name not in known:
        raise UnknownName("case", name, known, next_step="quantswarm selftest --case NAME")
    return known[name]
