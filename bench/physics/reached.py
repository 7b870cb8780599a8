"""The share of its ceiling that a measured cell reached, and the remarks that follow from it.

Decoding is compared step by step: the floor of one step, at the number of streams that were being
decoded at once on average and the context that they really had, over the median time a token took.
Waiting for prompts of others is in that time. Prefill is compared where a user was alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.judge.percentile import Distribution
from quantswarm.bench.judge.remarks import CACHED_SHARE, Remark
from quantswarm.bench.judge.window import Cut
from quantswarm.bench.physics.formulas import MEMORY, Speed, Work, decode_floor_s, prefill_tok_s

FAR_UNDER = 0.25
EXCEEDED = 1.05
SMALL_STEP_MS = 2.0
"""Under it an engine's own work for each step is as long as the reading of the weights."""

Ceiling = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Shares of 1, None where they cannot be known; `streams` and `context_tokens` as measured,
    `step_floor_ms` for those."""

    decode: float | None = None
    prefill: float | None = None
    streams: float | None = None
    context_tokens: float | None = None
    step_floor_ms: float | None = None


def reached(
    ceiling: Ceiling | None,
    cut: Cut,
    latencies: Mapping[str, Distribution],
    rates: Mapping[str, float | None],
) -> Reached:
    """From the manifest's ceiling and the judged cell."""
    work, speed = _work(ceiling), _speed(ceiling)
    streams = decoding_streams(cut)
    context = _context(cut)
    if work is None or speed is None or streams is None or context is None:
        return Reached(streams=streams, context_tokens=context)
    floor_ms = decode_floor_s(work, speed, max(streams, 1.0), context)[0] * 1e3
    tpot_ms = latencies["tpot"].quantiles["p50"]
    return Reached(
        decode=floor_ms / tpot_ms if tpot_ms else None,
        prefill=_prefill(work, speed, cut, rates),
        streams=streams,
        context_tokens=context,
        step_floor_ms=floor_ms,
    )


def decoding_streams(cut: Cut) -> float | None:
    """Answers being written at once, on average over the time in which any was: from its first
    token to its last each, inside the window. A user who waits for a first token is no stream."""
    window = cut.window
    spans = [
        (max(r.event_ns[0], window.start_ns), min(r.event_ns[-1], window.end_ns))
        for r in cut.everything
        if len(r.event_ns) > 1
    ]
    inside = sorted((start, end) for start, end in spans if end > start)
    if not inside:
        return None
    covered, last = 0, inside[0][0]
    for start, end in inside:
        covered += max(0, end - max(start, last))
        last = max(last, end)
    return sum(end - start for start, end in inside) / covered


def _context(cut: Cut) -> float | None:
    """Mean tokens of a stream's cache: its prompt, and half of its answer."""
    known = [r.prompt_tokens + r.counted_tokens / 2 for r in cut.good if r.prompt_tokens]
    return statistics.fmean(known) if known else None


def _prefill(work: Work, speed: Speed, cut: Cut, rates: Mapping[str, float | None]) -> float | None:
    """None with several users, whose waiting is in the time, and where a cache held the prompts."""
    rate, cached = rates.get("prefill_rate"), rates.get("cached_share")
    prompts = [record.prompt_tokens for record in cut.good if record.prompt_tokens]
    if rate is None or not prompts or (cached or 0.0) > CACHED_SHARE:
        return None
    return rate / prefill_tok_s(work, speed, statistics.median(prompts))


def _work(ceiling: Ceiling | None) -> Work | None:
    found = ceiling or {}
    keys = ("weights_bytes_per_token", "kv_bytes_per_token", "weights_multiplied", "head_weights")
    asked = (found.get(key) for key in (*keys, "attention_width"))
    numbers = [float(number) for number in asked if isinstance(number, int | float)]
    if len(numbers) < len(keys) + 1:
        return None
    read, kv, weights, head, width = numbers
    return Work(
        weights_bytes=read, kv_bytes=kv, weights=weights, head_weights=head, attention_width=width
    )


def _speed(ceiling: Ceiling | None) -> Speed | None:
    host = (ceiling or {}).get("host") or {}
    bandwidth, gflops = host.get("bandwidth_gb_s"), host.get("gflops")
    if not bandwidth or not gflops:
        return None
    return Speed(bandwidth_gb_s=bandwidth, gflops=gflops)


def as_json(ceiling: Ceiling | None, found: Reached | None) -> dict[str, Any] | None:
    """The summary's `ceiling`: the manifest's, with what was reached; None where there is none."""
    if ceiling is None:
        return None
    mine = found or Reached()
    return {
        **ceiling,
        "share_of_decode_ceiling": mine.decode,
        "share_of_prefill_ceiling": mine.prefill,
        "reached_streams": mine.streams,
        "reached_context_tokens": mine.context_tokens,
        "reached_step_floor_ms": mine.step_floor_ms,
    }


def remarks(found: Reached, ceiling: Ceiling | None) -> Iterator[Remark]:
    """Far under the ceiling of decoding; or above one, which cannot be."""
    shares = {"decode": found.decode, "prefill": found.prefill}
    above = {name: share for name, share in shares.items() if share and share > EXCEEDED}
    if above and ceiling is not None:
        told = ", ".join(f"{name} {share:.0%}" for name, share in above.items())
        yield Remark(
            name="ceiling-exceeded",
            seen=f"of its ceiling: {told}",
            cause="the figures of this host are too low: it was busy when they were taken, or the "
            "engine multiplies or reads faster than torch does",
            advice="measure the host again on a quiet machine (--measure-host); the speeds that "
            "were measured stand",
        )
    if found.decode is not None and found.decode < FAR_UNDER and ceiling is not None:
        yield Remark(
            name="far-under-ceiling",
            seen=f"decoding reached {found.decode:.0%} of its ceiling: a step could take "
            f"{found.step_floor_ms:.2f} ms",
            cause=_cause(found, ceiling),
            advice="see the kernels of this cell and the table of its bytes; the ceiling tells "
            "what a better kernel could win",
        )


def _cause(found: Reached, ceiling: Ceiling) -> str:
    if (found.step_floor_ms or 0.0) < SMALL_STEP_MS:
        return (
            "the model is small: the engine's own work for each step (scheduling, sampling, "
            "starting operators, HTTP) takes longer than reading its weights"
        )
    if ceiling.get("bound") == MEMORY:
        return (
            "weights are not read at the memory's speed: a kernel that unpacks them slowly, a type "
            "that this processor emulates, or fewer threads than the figures were taken with"
        )
    return (
        "products are slower than torch's own of the best type: a kernel without this processor's "
        "wide instructions, or operators that it does not join"
    )
