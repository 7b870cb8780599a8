"""Prefill and decode of a cell apart, where one user was alone; and by the server's own clock."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quantswarm.bench.judge.engine_view import EngineView
from quantswarm.bench.judge.metric import Metric
from quantswarm.bench.judge.percentile import Distribution
from quantswarm.bench.judge.remarks import CACHED_SHARE
from quantswarm.bench.judge.window import Cut

CLIENT, TIMINGS, HISTOGRAMS = "client", "timings in answers", "server's histograms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Prompt tokens a second before the first token, and tokens a second after it; the times that
    they follow from. `server` is the same by the server's own clock, where it has one."""

    prefill_tok_s: float | None
    decode_tok_s: float | None
    ttft_s: float | None
    tpot_s: float | None
    source: str
    server: Phases | None = None

    def as_json(self) -> dict[str, Any]:
        """As summaries hold it."""
        return asdict(self)


def phases(
    cut: Cut,
    latencies: Mapping[str, Distribution],
    rates: Mapping[str, float | None],
    view: EngineView | None,
) -> Phases | None:
    """None unless exactly one user was alone: with more, the wait for others is in the times.

    A prompt that came from a cache was not computed, so there is no prefill speed then; the
    server's own timings count the tokens that it did compute.
    """
    if cut.open_loop or cut.users != 1 or not cut.good:
        return None
    cached = (rates.get("cached_share") or 0.0) > CACHED_SHARE
    return Phases(
        prefill_tok_s=None if cached else rates.get("prefill_rate"),
        decode_tok_s=rates.get("decode_rate"),
        ttft_s=_seconds(latencies, "ttft_sent"),
        tpot_s=_seconds(latencies, "tpot"),
        source=CLIENT,
        server=_timings(cut, rates) or _histograms(cut, view, cached=cached),
    )


def _seconds(latencies: Mapping[str, Distribution], name: str) -> float | None:
    median_ms = latencies[name].quantiles["p50"]
    return None if median_ms is None else median_ms / 1e3


def _timings(cut: Cut, rates: Mapping[str, float | None]) -> Phases | None:
    """As llama-server tells with each answer: what it computed, and for how long."""
    prefill, decode = rates.get("server_prefill_rate"), rates.get("server_decode_rate")
    if prefill is None and decode is None:
        return None
    told = [r.server_timings for r in cut.good if r.server_timings]
    waits = [t["prompt_ms"] / 1e3 for t in told if isinstance(t.get("prompt_ms"), int | float)]
    return Phases(
        prefill_tok_s=prefill,
        decode_tok_s=decode,
        ttft_s=statistics.median(waits) if waits else None,
        tpot_s=1 / decode if decode else None,
        source=TIMINGS,
    )


def _histograms(cut: Cut, view: EngineView | None, *, cached: bool) -> Phases | None:
    """As vLLM tells under /metrics: exact means over the window, here of unqueued requests."""
    if view is None or (view.ttft_mean_ms is None and view.itl_mean_ms is None):
        return None
    ttft_s, tpot_s = (
        None if mean_ms is None else mean_ms / 1e3
        for mean_ms in (view.ttft_mean_ms, view.itl_mean_ms)
    )
    prompts = [record.prompt_tokens for record in cut.good if record.prompt_tokens]
    known = bool(prompts and ttft_s) and not cached
    return Phases(
        prefill_tok_s=statistics.fmean(prompts) / ttft_s if known and ttft_s else None,
        decode_tok_s=1 / tpot_s if tpot_s else None,
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        source=HISTOGRAMS,
    )


PHASES: tuple[Metric, ...] = (
    Metric(
        name="phases.prefill_tok_s",
        title="prefill, of a prompt that waits for nobody",
        unit="tok/s",
        formula=f"prefill_rate; null where over {CACHED_SHARE:.0%} of the prompt was cached",
        larger_is_better=True,
        needs=("prefill_rate", "cached_share"),
    ),
    Metric(
        name="phases.decode_tok_s",
        title="decode, of one stream",
        unit="tok/s",
        formula="decode_rate",
        larger_is_better=True,
        needs=("decode_rate",),
    ),
    Metric(
        name="phases.ttft_s",
        title="time to first token of one user alone",
        unit="s",
        formula="p50 of ttft_sent / 1000",
        larger_is_better=False,
        needs=("ttft_sent",),
    ),
    Metric(
        name="phases.tpot_s",
        title="time per output token of one user alone",
        unit="s",
        formula="p50 of tpot / 1000",
        larger_is_better=False,
        needs=("tpot",),
    ),
)
