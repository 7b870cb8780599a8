"""The numbers of one variant's quality, from its scores; and the document that holds them.

perplexity      = exp(mean nll)                      nll = -log p(token | the window before it)
bits per byte   = Σ nll / ln 2 / bytes of the scored tokens
Δnll            = mean(nll - nll of the reference)   paired: the same tokens
ratio           = exp(Δnll), of the two perplexities
KL              = mean Σ p log(p / q), and its 99th percentile over tokens
top-1 agreement = share of tokens before which both hold the same next token for likeliest
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quantswarm.bench.quality.corpus import Corpus
from quantswarm.bench.quality.paired import paired_interval
from quantswarm.bench.quality.reference import Reference
from quantswarm.bench.quality.scores import Scores
from quantswarm.bench.quality.warned import Warned

SCHEMA = 1
_NUMBERS = (
    *("perplexity", "bits_per_byte", "kl_mean", "kl_p99", "top1_agreement"),
    *("delta_nll", "delta_nll_ci", "tokens", "reference"),
)
_MORE = ("perplexity_ratio", "nll_mean", "kl_interval", "covered_mass", "seconds")


def numbers(scores: Scores, corpus: Corpus, reference: Reference | None) -> dict[str, Any]:
    """Every measured value; None for what needs a reference that there is not."""
    nll = scores.nll.astype(np.float64)
    found: dict[str, Any] = {
        "perplexity": math.exp(nll.mean()),
        "nll_mean": float(nll.mean()),
        "bits_per_byte": float(nll.sum()) / math.log(2) / corpus.scored_bytes,
        "tokens": len(nll),
        **_delta(nll, reference),
        **_distance(scores),
    }
    return {key: found.get(key) for key in (*_NUMBERS, *_MORE)}


def _delta(nll: Any, reference: Reference | None) -> dict[str, Any]:
    if reference is None:
        return {}
    differences = nll - reference.nll
    mean = float(differences.mean())
    return {
        "reference": reference.label,
        "delta_nll": mean,
        "delta_nll_ci": list(paired_interval(differences)),
        "perplexity_ratio": math.exp(mean),
    }


def _distance(scores: Scores) -> dict[str, Any]:
    if scores.kl is None or scores.reference_top1 is None:
        return {}
    cut = scores.cut
    return {
        "kl_mean": float(scores.kl.mean()),
        "kl_p99": float(np.quantile(scores.kl, 0.99)),
        "top1_agreement": float((scores.top1 == scores.reference_top1).mean()),
        "kl_interval": [float(cut.low.mean()), float(cut.high.mean())] if cut else None,
        "covered_mass": cut.covered_mass if cut else None,
    }


def document(
    identity: Mapping[str, Any],
    found: Mapping[str, Any],
    corpus: Mapping[str, Any] | None,
    warnings: Sequence[Warned],
    **facts: Any,
) -> dict[str, Any]:
    """`identity` has engine, quant, model and variant; `found` is of `numbers`, or empty where the
    measurement failed and the warnings say why."""
    return {
        **{key: found.get(key) for key in _NUMBERS},
        "warnings": [dict(one) for one in warnings],
        "schema": SCHEMA,
        **identity,
        "corpus": corpus,
        **{key: found.get(key) for key in _MORE},
        "kernels": None,
        "path": None,
        **facts,
    }
