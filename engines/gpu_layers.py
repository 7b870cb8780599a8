"""How many of a model's layers the GPU gets: all, half, a number, none. Pure: facts in, reason out.

llama.cpp counts the output layer with the repeating ones, and gives the GPU the last ones first:
`-ngl 16` of a model of 32 is the output layer and 15 others.
"""

from __future__ import annotations

from dataclasses import dataclass

from quantswarm.models.errors import UserMistake

ALL = -1
WORDS = ("all", "half", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offload:
    """`layers` on the GPU (`ALL` for all), the reason, and a warning where it is another number
    than was asked for: name, seen, cause, advice."""

    layers: int
    reason: str = ""
    warning: dict[str, str] | None = None


def decide(asked: str | None, *, no_gpu: str, model_layers: int | None) -> Offload:
    """`no_gpu` says why nothing can be computed on a GPU, and is empty where it can;
    `model_layers` are the repeating layers, None where they are not known yet. Raises
    `UserMistake` for what is neither a number nor a word, and for half of an unknown number."""
    asked = asked or None
    if asked is not None and asked not in WORDS and not asked.isdigit():
        raise UserMistake(
            f"--gpu-layers {asked}",
            f"neither a number nor {', '.join(map(repr, WORDS))}",
            next_step="e.g. --gpu-layers 20",
        )
    if no_gpu:
        return _without(asked, no_gpu)
    if asked is None:
        return Offload(layers=ALL, reason="all layers: a GPU is present")
    if asked == "half":
        return _half(model_layers)
    if asked == "all":
        return Offload(layers=ALL, reason="all layers: asked for")
    count = 0 if asked == "none" else int(asked)
    return Offload(layers=count, reason=f"{asked} asked for{_still(count)}")


def _half(model_layers: int | None) -> Offload:
    if model_layers is None:
        raise UserMistake(
            "--gpu-layers half",
            "the number of this model's layers is not known before its weights are made",
            next_step="give a number, or make the weights first (quantswarm serve, or bench)",
        )
    most = model_layers + 1
    return Offload(
        layers=most // 2,
        reason=f"half: {most // 2} of {most}, the output layer and the last of {model_layers}"
        " repeating ones",
    )


def _still(count: int) -> str:
    if count:
        return ""
    return (
        ": weights and cache stay in main memory; llama.cpp multiplies batches of 32 and more rows"
        " (prompts, many users) on the GPU all the same"
    )


def _without(asked: str | None, why: str) -> Offload:
    """Asking for some without a GPU is said aloud, not refused."""
    if asked in (None, "0", "none"):
        return Offload(layers=0)
    return Offload(
        layers=0,
        reason=f"{asked} asked for, none given: {why}",
        warning={
            "name": "no-gpu",
            "seen": f"--gpu-layers {asked} asked for, every layer stays on the CPU",
            "cause": why,
            "advice": "run on a machine with a GPU and its driver, then run set-up there",
        },
    )
