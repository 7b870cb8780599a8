"""The engine of known latency: a server whose every token has a written-down due instant.

It needs no weights. What it does is written in the model's name, so that any OpenAI client can ask
for it: `scripted` behaves as the server was started (`--option behaviour=…`), and
`scripted:KEY=VALUE,KEY=VALUE` changes that for one request, e.g. `scripted:ttft=50ms,itl=10ms`.

Time (units ns, us, ms, s):
    ttft=DIST[+TIME*prompt]   from the request's last byte to the first token
    itl=DIST                  from a token to the next
    lockstep=TIME             all streams emit together, at whole multiples of TIME on the clock;
                              takes the place of itl; `off` ends it
    slots=N                   requests served at once, the others queue, first come first served;
                              requests of one model name share a queue; 0: no limit
    DIST: 10ms, const(10ms), uniform(5ms..15ms), exp(MEAN), gamma(MEAN;SHAPE),
    lognormal(MEDIAN;SIGMA), list(1ms;2ms;9ms) (in turn, then again)
Length:
    tokens=DIST of counts     natural end of the answer (finish_reason "stop"); 0: none. Without it,
                              or with ignore_eos, an answer has max_tokens (finish_reason "length")
    context=N                 longest prompt; a longer one is refused with 400
    seed=N                    of all that is drawn; draws depend on it and on the request's index
Shape of a stream:
    per_event=N per_segment=N split=no|half|utf8 eol=lf|crlf comments=N text=ascii|utf8
    head=early|first role=first|early|merged|absent finish=merged|apart done=yes|no close=no|yes
    usage=asked|absent|final|merged|continuous|wrong timings=no|yes
Faults, several times if need be: fault=KIND[@WHEN][@token:N][@for:TIME], or fault=none
    WHEN: index:N, index:A..B, every:N, p:0.1; without it every request. N of `token` is how many
    tokens come before (1). KIND: an HTTP status of 400 to 599; html, hang (no answer), error-event,
    malformed (JSON), reset, close (no terminator), truncated (a proper end, too early), stall and
    slow-loris (`for`: the pause, before going on; for each byte), freeze (SIGSTOP for `for`), exit.
Index counts requests of one model name from 0; the request that proves a started server ready is
index 0 of the plain name.

The ledger is the truth: `GET /ledger`, or the file of `--option ledger=FILE`, has a JSON line for
each request with every content event's scheduled and sent instant (CLOCK_MONOTONIC, ns).
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from quantswarm.engines.base import Availability, Command, Engine, ServeSpec
from quantswarm.engines.options import checked
from quantswarm.models.artefact import Artefact

OPTIONS = {
    "behaviour": "what requests for the plain model name get, e.g. ttft=50ms,itl=10ms",
    "ledger": "file that gets a JSON line for each finished request",
    "spin_us": "microseconds before each due instant that are waited for awake",
}


class Scripted(Engine):
    """Emits tokens on an absolute schedule and records how late each one left."""

    name: ClassVar[str] = "scripted"
    summary: ClassVar[str] = "a server of known latency: the truth that the harness is held against"
    formats: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    options: ClassVar[Mapping[str, str]] = OPTIONS
    gauges: ClassVar[Mapping[str, str]] = {
        "running": "vllm:num_requests_running",
        "waiting": "vllm:num_requests_waiting",
        "prompt_tokens": "vllm:prompt_tokens_total",
        "generation_tokens": "vllm:generation_tokens_total",
        "prefix_queries": "vllm:prefix_cache_queries_total",
        "prefix_hits": "vllm:prefix_cache_hits_total",
        "preemptions": "vllm:num_preemptions_total",
        "ttft": "vllm:time_to_first_token_seconds",
        "itl": "vllm:inter_token_latency_seconds",
        "queue_time": "vllm:request_queue_time_seconds",
    }
    logprobs_by: ClassVar[str | None] = "echo"
    start_timeout_s: ClassVar[float] = 30.0

    def probe(self) -> Availability:
        """It is part of the package and needs nothing else."""
        return Availability(available=True, version=platform.python_version(), device="cpu")

    def command(
        self, artefact: Artefact | None, spec: ServeSpec, flags: tuple[str, ...]
    ) -> Command:
        """A behaviour that does not parse is refused here, before anything is started."""
        from quantswarm.engines.scripted.behaviour import parse

        given = checked(self.name, spec.options, OPTIONS)
        reasons = dict(spec.reasons)
        behaviour = given.get("behaviour", "")
        parsed = parse(behaviour)
        reasons["slots"] = (
            f"{parsed.slots}, by the behaviour" if parsed.slots else "no limit: behaviour slots=N"
        )
        argv = [
            *(sys.executable, "-m", "quantswarm.engines.scripted.server_main"),
            *("--host", spec.host, "--port", str(spec.port)),
            *("--served-model-name", spec.served_name, "--context", str(spec.context_tokens)),
        ]
        for option, flag in (("ledger", "--ledger"), ("spin_us", "--spin-us")):
            argv += [flag, given[option]] if option in given else []
        argv += ["--behaviour", behaviour] if behaviour else []
        if spec.api_key_file is not None:
            argv += ["--api-key-file", str(spec.api_key_file)]
        return Command(argv=tuple(argv), reasons=reasons)

    def pinned_fields(self, output_tokens: int) -> Mapping[str, Any]:
        """Its stand-in for an end-of-text token is `tokens=`, which this overrides."""
        return {
            "ignore_eos": True,
            "min_tokens": output_tokens,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }


ENGINE = Scripted()
