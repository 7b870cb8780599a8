"""Every option beside the baseline: speed-up, memory saved, quality lost, cost and energy."""

from __future__ import annotations

from typing import Any

from quantswarm.bench.compare.document import ratio_as_json
from quantswarm.bench.compare.measure import MEASURES
from quantswarm.bench.compare.ratio import UNKNOWN
from quantswarm.bench.decide.case import Case
from quantswarm.bench.decide.option import Option, differs
from quantswarm.bench.decide.quantities import QUANTITIES

SPEEDS = ("output_tok_s", "ttft_p50_ms", "tpot_p50_ms")
SIZES = ("memory_gb", "gpu_memory_gb", "weights_gb")
TOLD = (
    *SPEEDS,
    *("ttft_p95_ms", "user_tok_s"),
    *SIZES,
    *("perplexity", "perplexity_increase_percent", "kl_mean", "top1_agreement"),
    *("cost_per_million", "tokens_per_joule"),
)
"""The quantities that a decision's rows carry."""
_MEASURES = {measure.key: measure for measure in MEASURES}
BASELINE = "baseline"


def rows(case: Case) -> list[dict[str, Any]]:
    """One a load and variant, by load, the baseline first."""
    return [
        _row(case, option)
        for load in case.loads
        for option in sorted(case.at(load), key=lambda one: one.variant != case.baseline)
    ]


def _row(case: Case, option: Option) -> dict[str, Any]:
    return {
        "model": option.model,
        "load": option.load.words,
        "users": option.load.users,
        "rate": option.rate,
        "variant": option.variant,
        "engine": option.engine,
        "quant": option.quant,
        "kernel": option.kernel,
        "cells": list(option.cells),
        "baseline": option.variant == case.baseline,
        "speed": {name: _speed(case, option, name) for name in SPEEDS},
        "size": {name: _size(case, option, name) for name in SIZES},
        "quality": option.loss.as_json() if option.loss else None,
        "quality_name": option.quality_name,
        "values": {name: option.value(name) for name in TOLD},
        "missing": {name: option.missing[name] for name in TOLD if name in option.missing},
    }


def _speed(case: Case, option: Option, name: str) -> dict[str, Any] | None:
    """The ratio to the baseline as comparisons store it; None where there is none."""
    if option.variant == case.baseline:
        return None
    measure = _MEASURES[str(QUANTITIES[name].measure)]
    found = case.field.ratio(option.variant, case.baseline, option.load, measure)
    return ratio_as_json(found) if found else None


def _size(case: Case, option: Option, name: str) -> dict[str, Any] | None:
    """`saved` 0.25: a quarter less than the baseline; negative: more."""
    other = case.find(case.baseline, option.load)
    if other is None or other is option:
        return None
    mine, its = option.value(name), other.value(name)
    if mine is None or not its:
        return None
    verdict = differs(case.field, option, other, name)
    return {"saved": 1 - mine / its, "verdict": verdict or UNKNOWN}
