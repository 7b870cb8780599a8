"""The numbers that a decision can be about, by names with units: one declaration each."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.decide.energy import counted, tokens_per_joule
from quantswarm.bench.decide.loss import loss_of
from quantswarm.bench.decide.price import Price
from quantswarm.bench.judge.latency import LATENCIES
from quantswarm.bench.judge.percentile import QUANTILES
from quantswarm.bench.judge.rate import RATES

Cell = Mapping[str, Any]
NO_QUALITY = "quality was not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything known of one variant at one load: its sound cells, one a round, its quality
    document, and the price of an hour."""

    cells: Sequence[Cell]
    quality: Mapping[str, Any] | None = None
    price: Price | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """`of` gives the number over all rounds, None where it is not known; `missing` says why then.
    `measure` is the key by which ratios and noise of it are known, None where there are none."""

    name: str
    title: str
    unit: str
    larger_is_better: bool | None
    of: Callable[[Evidence], float | None]
    missing: Callable[[Evidence], str] = lambda _: "not measured"
    measure: str | None = None


def _mean(values: Sequence[float | None]) -> float | None:
    """Geometric where all are above 0, as the comparison's are; of what is known."""
    known = [float(value) for value in values if value is not None]
    if not known or min(known) <= 0:
        return statistics.fmean(known) if known else None
    return known[0] if len(known) == 1 else statistics.geometric_mean(known)


def _rate(evidence: Evidence, *, name: str) -> float | None:
    return _mean([cell["rates"].get(name) for cell in evidence.cells])


def _latency(evidence: Evidence, *, name: str, part: str) -> float | None:
    return _mean([(cell["latencies_ms"].get(name) or {}).get(part) for cell in evidence.cells])


def _withheld(evidence: Evidence, *, name: str) -> str:
    counts = [(cell["latencies_ms"].get(name) or {}).get("n") or 0 for cell in evidence.cells]
    return f"withheld: {max(counts, default=0):,} samples are too few"


def _largest(evidence: Evidence, *, key: str, scale: float = 1.0) -> float | None:
    known = [cell[key] for cell in evidence.cells if cell.get(key) is not None]
    return max(known) / scale if known else None


def _of_gpus(evidence: Evidence) -> float | None:
    used = [(cell.get("resources") or {}).get("gpu_memory_max_bytes") for cell in evidence.cells]
    known = [value for value in used if value is not None]
    return max(known) / 1e9 if known else None


def _after_load(evidence: Evidence) -> float | None:
    found = [(c.get("footprint") or {}).get("memory_after_load_bytes") for c in evidence.cells]
    known = [value for value in found if value is not None]
    return max(known) / 1e9 if known else None


def _quality(evidence: Evidence, *, key: str) -> float | None:
    value = (evidence.quality or {}).get(key)
    return None if value is None else float(value)


def _increase(evidence: Evidence) -> float | None:
    loss = loss_of(evidence.quality)
    return loss.increase_percent if loss else None


def _no_quality(evidence: Evidence) -> str:
    return "its document has no such number" if evidence.quality else NO_QUALITY


def _cost(evidence: Evidence) -> float | None:
    if evidence.price is None:
        return None
    return evidence.price.per_million(_rate(evidence, name="output_throughput"))


def _no_cost(evidence: Evidence) -> str:
    return "no throughput" if evidence.price else "no price was given"


def _energy(evidence: Evidence) -> float | None:
    return _mean([tokens_per_joule(cell) for cell in evidence.cells])


def _no_energy(evidence: Evidence) -> str:
    return counted(evidence.cells[0]) if evidence.cells else "not measured"


def _ceiling(evidence: Evidence, *, key: str) -> float | None:
    return _mean([(cell.get("ceiling") or {}).get(key) for cell in evidence.cells])


def _per_user(evidence: Evidence) -> float | None:
    """Tokens a second that one user sees: 1000 / TPOT p50."""
    tpot_ms = _latency(evidence, name="tpot", part="p50")
    return 1000 / tpot_ms if tpot_ms else None


def _latencies() -> list[Quantity]:
    return [
        Quantity(
            name=f"{metric.name}_{part}_ms",
            title=f"{metric.name.upper()} {'p99.9' if part == 'p999' else part}",
            unit="ms",
            larger_is_better=False,
            of=functools.partial(_latency, name=metric.name, part=part),
            missing=functools.partial(_withheld, name=metric.name),
            measure=f"{metric.name}_{part}_ms",
        )
        for metric in LATENCIES
        for part in ("mean", *QUANTILES, "max")
    ]


def _rates() -> list[Quantity]:
    return [
        Quantity(
            name=metric.name,
            title=metric.title,
            unit=metric.unit,
            larger_is_better=metric.larger_is_better,
            of=functools.partial(_rate, name=metric.name),
            measure=metric.name,
        )
        for metric in RATES
    ]


def _of_quality(name: str, title: str, unit: str, *, larger: bool) -> Quantity:
    return Quantity(
        name=name,
        title=title,
        unit=unit,
        larger_is_better=larger,
        of=functools.partial(_quality, key=name),
        missing=_no_quality,
    )


_OWN: tuple[Quantity, ...] = (
    Quantity(
        name="output_tok_s",
        title="output",
        unit="tok/s",
        larger_is_better=True,
        of=functools.partial(_rate, name="output_throughput"),
        measure="output_throughput",
    ),
    Quantity(
        name="user_tok_s", title="output a user", unit="tok/s", larger_is_better=True, of=_per_user
    ),
    Quantity(
        name="memory_gb",
        title="peak memory",
        unit="GB",
        larger_is_better=False,
        of=functools.partial(_largest, key="rss_peak_bytes", scale=1e9),
    ),
    Quantity(
        name="gpu_memory_gb",
        title="peak GPU memory",
        unit="GB",
        larger_is_better=False,
        of=_of_gpus,
        missing=lambda _: "no GPU memory was read",
    ),
    Quantity(
        name="weights_gb",
        title="weights on disk",
        unit="GB",
        larger_is_better=False,
        of=functools.partial(_largest, key="weights_bytes", scale=1e9),
    ),
    Quantity(
        name="load_s",
        title="load time",
        unit="s",
        larger_is_better=False,
        of=functools.partial(_largest, key="load_s"),
    ),
    Quantity(
        name="perplexity_increase_percent",
        title="perplexity increase",
        unit="%",
        larger_is_better=False,
        of=_increase,
        missing=_no_quality,
    ),
    _of_quality("perplexity", "perplexity", "", larger=False),
    _of_quality("bits_per_byte", "bits per byte", "bit", larger=False),
    _of_quality("kl_mean", "mean KL divergence", "nat", larger=False),
    _of_quality("kl_p99", "p99 of KL divergence", "nat", larger=False),
    _of_quality("top1_agreement", "top-1 agreement", "share", larger=True),
    _of_quality("delta_nll", "Δ NLL", "nat", larger=False),
    Quantity(
        name="cost_per_million",
        title="cost per million output tokens",
        unit="",
        larger_is_better=False,
        of=_cost,
        missing=_no_cost,
    ),
    Quantity(
        name="tokens_per_joule",
        title="output tokens per joule",
        unit="tok/J",
        larger_is_better=True,
        of=_energy,
        missing=_no_energy,
    ),
    Quantity(
        name="kv_bytes_per_token",
        title="cache a token",
        unit="bytes",
        larger_is_better=False,
        of=functools.partial(_ceiling, key="kv_bytes_per_token"),
    ),
    Quantity(
        name="kv_cache_tokens",
        title="tokens that the cache holds",
        unit="tokens",
        larger_is_better=True,
        of=functools.partial(_largest, key="kv_cache_tokens"),
        missing=lambda _: "the server's log does not tell it",
    ),
    Quantity(
        name="memory_after_load_gb",
        title="memory after load",
        unit="GB",
        larger_is_better=False,
        of=_after_load,
        missing=lambda _: "memory after load was not read",
    ),
    Quantity(
        name="step_floor_ms",
        title="floor of a step",
        unit="ms",
        larger_is_better=False,
        of=functools.partial(_ceiling, key="step_floor_ms"),
        missing=lambda _: "no ceiling follows from what is known",
    ),
    Quantity(
        name="share_of_decode_ceiling",
        title="share of the decode ceiling",
        unit="share",
        larger_is_better=True,
        of=functools.partial(_ceiling, key="share_of_decode_ceiling"),
    ),
)

QUANTITIES: Mapping[str, Quantity] = {
    quantity.name: quantity for quantity in (*_OWN, *_rates(), *_latencies())
}
