"""Runs with a known best variant, with quality documents, for the tests of deciding."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from made_run import Load, write_cell, write_run

SPEEDS = {"f16": (10.0, 14.0), "q8_0": (7.0, 12.5), "q4_k_m": (5.0, 18.0)}
"""Quantization → ITL in ms at 1 and at 8 users: q4_k_m leads alone and falls behind under load."""
SIZES = {"f16": 400_000_000, "q8_0": 300_000_000, "q4_k_m": 200_000_000}
LOSSES = {"f16": (0.0, 0.0002), "q8_0": (0.0004, 0.0006), "q4_k_m": (0.03, 0.004)}
"""Quantization → Δ NLL, and half of its interval."""


def document(quant: str, **changed: Any) -> dict[str, Any]:
    """A quality document as `quantswarm quality` prints it, without the keys that nobody reads."""
    delta, half = LOSSES[quant]
    return {
        "schema": 1,
        "engine": "llamacpp",
        "quant": quant,
        "model": "tiny",
        "variant": f"llamacpp-{quant}",
        "perplexity": 3.5 * math.exp(delta),
        "perplexity_ratio": math.exp(delta),
        "bits_per_byte": 1.1,
        "kl_mean": delta,
        "kl_p99": 10 * delta,
        "top1_agreement": 1 - 2 * delta,
        "delta_nll": delta,
        "delta_nll_ci": [delta - half, delta + half],
        "tokens": 20_000,
        "reference": "tiny fp32",
        "warnings": [],
    } | changed


def write_decided(run: Path, *, quality: bool = True, rounds: int = 1, **facts: Any) -> Path:
    """Three quantizations of llama.cpp at 1 and 8 users; `facts` go into every manifest."""
    write_run(
        run, run_id=run.name, matrix={"name": "m", "baseline": "llamacpp-f16", "rounds": rounds}
    )
    for quant, speeds in SPEEDS.items():
        for users, itl_ms in zip((1, 8), speeds, strict=True):
            load = Load(users=users, ttft_ms=20.0, itl_ms=itl_ms, tokens=24, jitter=0.2)
            about = {"rss_peak_bytes": SIZES[quant], "weights_bytes": SIZES[quant] // 10} | facts
            write_cell(run, "llamacpp", quant, load, **about)
    if quality:
        (run / "quality").mkdir()
        for quant in SPEEDS:
            path = run / "quality" / f"llamacpp-{quant}.json"
            path.write_text(json.dumps(document(quant)))
    return run
