"""Named remarks of a quality measurement, in the shape that manifests have."""

from __future__ import annotations

from typing import TypeAlias

Warned: TypeAlias = dict[str, str]
"""name, seen, cause, advice."""

FEW_TOKENS = 1000


def warned(name: str, seen: str, cause: str, advice: str) -> Warned:
    """One remark."""
    return {"name": name, "seen": seen, "cause": cause, "advice": advice}


def random_weights(model: str) -> Warned:
    """Weights that were drawn, not trained."""
    return warned(
        "random-weights",
        f"{model} has random weights: its perplexity is that of noise",
        "a synthetic model stands for a shape, and for speed",
        "read KL and top-1 agreement alone: they are the distance to the original",
    )


def no_reference(why: str) -> Warned:
    """Nothing to compare with."""
    return warned(
        "no-reference",
        f"no unquantized reference: {why}",
        "KL, agreement and Δ need the model that was quantized",
        "name it with --reference",
    )


def few_tokens(scored: int) -> Warned:
    """Too short a text."""
    return warned(
        "few-tokens",
        f"{scored:,} tokens were scored",
        "the interval is wide, and p99 rests on a handful of tokens",
        "a longer --text, or more --tokens",
    )


def quality_failed(why: str) -> Warned:
    """The step of a run that gave nothing."""
    return warned(
        "quality-failed",
        f"quality was not measured: {why}",
        "the load that was measured before is not touched by it",
        "bench --resume tries it again; quantswarm quality shows the whole message",
    )
