"""A variant's ceilings: its bytes and operations against the machine's figures, as one document.

What is not known is null there, and `unknown` says why; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.physics import formulas
from quantswarm.bench.physics.expected import Expected
from quantswarm.bench.physics.formulas import Speed, Work
from quantswarm.engines.host_speed.figures import HostSpeed
from quantswarm.models.weight_parts import HEAD, PLAIN_BYTES, Weights

NO_LENGTHS = "a data set has the lengths: the cache is left out, which raises the ceiling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Physics:
    """All that is known of a variant before it is measured.

    `dtype` is what plain numbers are held in where the engine converts them at load (None: as they
    are stored), `kv_bytes` a token's cache. `unknown` is what could not be found out, and why.
    """

    weights: Weights | None
    dtype: str | None
    kv_bytes: float | None
    host: HostSpeed | None
    most_streams: int
    unknown: Mapping[str, str]

    @property
    def read_bytes(self) -> int | None:
        """By one step, as held in memory."""
        return None if self.weights is None else self.weights.read_bytes(self.dtype)

    def work(self) -> Work | None:
        """None where the weights do not tell, or nothing is known of the cache."""
        found = self.weights
        if found is None or found.attention_width is None or self.kv_bytes is None:
            return None
        read, multiplied, head = self.read_bytes, found.multiplied(), found.multiplied(HEAD)
        if read is None or multiplied is None or head is None:
            return None
        return Work(
            weights_bytes=read,
            kv_bytes=self.kv_bytes,
            weights=multiplied,
            head_weights=head,
            attention_width=found.attention_width,
        )

    def bits(self) -> int | None:
        """Of the numbers that most of what a step reads consists of: they decide the products."""
        read = [part for part in (self.weights.parts if self.weights else ()) if part.read]
        if not read:
            return None
        main = max(read, key=lambda part: part.stored_bytes)
        return 8 * main.held_bytes(self.dtype) // main.elements if main.plain else 8

    def speed(self, working_set_bytes: float) -> Speed | None:
        """The machine's figures for data of this size; None where one of them is not known."""
        bits = self.bits()
        if self.host is None or bits is None:
            return None
        bandwidth, rate = self.host.bandwidth(working_set_bytes), self.host.rate(bits)
        if bandwidth is None or rate is None:
            return None
        return Speed(bandwidth_gb_s=bandwidth, gflops=rate.gflops)

    def ceiling(self, users: int, lengths: Expected | None) -> dict[str, Any]:
        """The document for a load; `users` 0 (an open loop) stands for all that the server serves
        at once."""
        streams = min(users or self.most_streams, self.most_streams)
        context = lengths.context_tokens if lengths else 0.0
        prompt = lengths.prompt_tokens if lengths else None
        unknown = dict(self.unknown) | ({} if lengths else {"context_tokens": NO_LENGTHS})
        work = self.work()
        found: dict[str, Any] = dict.fromkeys(
            ("decode_tok_s", "prefill_tok_s", "step_floor_ms", "bound", "working_set_bytes")
        )
        speed = None
        if work is not None:
            working_set = formulas.decode_bytes(work, streams, context)
            found["working_set_bytes"] = round(working_set)
            speed = self.speed(working_set)
        if work is not None and speed is not None:
            floor_s, found["bound"] = formulas.decode_floor_s(work, speed, streams, context)
            found |= {"decode_tok_s": streams / floor_s, "step_floor_ms": floor_s * 1e3}
            if prompt:
                found["prefill_tok_s"] = formulas.prefill_tok_s(work, speed, prompt)
        return {
            **found,
            **self._facts(work),
            "streams": streams,
            "prompt_tokens": prompt,
            "context_tokens": lengths.context_tokens if lengths else None,
            "host": self._host(speed),
            "unknown": unknown,
        }

    def _facts(self, work: Work | None) -> dict[str, Any]:
        weights = self.weights
        return {
            "weights_bytes_per_token": self.read_bytes,
            "stored_bytes_per_token": weights.read_bytes() if weights else None,
            "stored_bytes": weights.stored_bytes if weights else None,
            "kv_bytes_per_token": self.kv_bytes,
            "held_as": self.dtype,
            "weights_multiplied": work.weights if work else None,
            "head_weights": work.head_weights if work else None,
            "attention_width": work.attention_width if work else None,
            "flops_per_token": 2 * work.weights if work else None,
            "components": self.components(),
        }

    def components(self) -> list[dict[str, Any]]:
        """Each part: where, stored as what, in how many bytes, and what a step reads of it."""
        return [
            {
                "component": part.component,
                "type": part.kind,
                "held_as": self.dtype if part.plain and self.dtype else part.kind,
                "stored_bytes": part.stored_bytes,
                "read_bytes": part.held_bytes(self.dtype) if part.read else 0,
            }
            for part in (self.weights.parts if self.weights else ())
        ]

    def _host(self, speed: Speed | None) -> dict[str, Any]:
        host, bits = self.host, self.bits()
        rate = host.rate(bits) if host is not None and bits is not None else None
        return {
            "bandwidth_gb_s": speed.bandwidth_gb_s if speed else None,
            "gflops": speed.gflops if speed else None,
            "dtype": rate.dtype if rate else None,
            "device": host.device if host else None,
            "cores": list(host.cores) if host else None,
            "threads": host.threads if host else None,
            "measured_utc": host.measured_utc if host else None,
            "torch": host.torch if host else None,
            "board_gb_s": host.board_gb_s if host else None,
            "curve": [[b.size_bytes, b.gb_s, b.spread] for b in host.bandwidths] if host else [],
            "rates": [[r.dtype, r.gflops, r.spread] for r in host.rates] if host else [],
        }


def held_as(widens: bool, dtype: str | None) -> str | None:
    """What plain numbers are held in: what is computed in, for an engine that converts them."""
    return dtype if widens and dtype in PLAIN_BYTES else None
