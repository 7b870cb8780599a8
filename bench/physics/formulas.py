"""The formulas of the ceilings, on plain numbers. docs/physics.md prints them.

A step of decoding reads every matrix once, whatever the number of streams, and each stream's cache
once; it multiplies each stream's token with every matrix (2 operations a weight) and with its own
cache (2 for the scores and 2 for the values, for each number of the heads' width and each token of
context). Reading and multiplying overlap at best, so the longer of the two is the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

MEMORY, ARITHMETIC = "memory", "arithmetic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a model asks for. `weights_bytes` is read by a step, `kv_bytes` is a token's cache,
    `weights` are multiplied with each token, `head_weights` of them only where a token is chosen,
    `attention_width` is heads × head size over all layers."""

    weights_bytes: float
    kv_bytes: float
    weights: float
    head_weights: float
    attention_width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a machine has: 10⁹ bytes and 10⁹ operations a second."""

    bandwidth_gb_s: float
    gflops: float


def decode_bytes(work: Work, streams: float, context: float) -> float:
    """Read by one step of `streams` streams with `context` tokens each."""
    return work.weights_bytes + streams * context * work.kv_bytes


def decode_operations(work: Work, streams: float, context: float) -> float:
    """Operations of one such step."""
    return streams * (2 * work.weights + 4 * work.attention_width * context)


def decode_floor_s(work: Work, speed: Speed, streams: float, context: float) -> tuple[float, str]:
    """The least time of one step, and which of memory and arithmetic sets it."""
    return _longer(
        decode_bytes(work, streams, context), decode_operations(work, streams, context), speed
    )


def decode_tok_s(work: Work, speed: Speed, streams: float, context: float) -> float:
    """The most tokens a second of all streams together: one each in a step."""
    return streams / decode_floor_s(work, speed, streams, context)[0]


def prefill_operations(work: Work, prompt: float) -> float:
    """Operations for a prompt alone: the i-th token attends to i, the head sees the last one."""
    every = 2 * (work.weights - work.head_weights) * prompt + 2 * work.head_weights
    return every + 2 * work.attention_width * prompt * (prompt + 1)


def prefill_floor_s(work: Work, speed: Speed, prompt: float) -> tuple[float, str]:
    """The least time from a prompt to its first token, and what sets it."""
    return _longer(work.weights_bytes, prefill_operations(work, prompt), speed)


def prefill_tok_s(work: Work, speed: Speed, prompt: float) -> float:
    """The most prompt tokens a second."""
    return prompt / prefill_floor_s(work, speed, prompt)[0]


def _longer(read_bytes: float, operations: float, speed: Speed) -> tuple[float, str]:
    reading = read_bytes / (speed.bandwidth_gb_s * 1e9)
    multiplying = operations / (speed.gflops * 1e9)
    return (reading, MEMORY) if reading >= multiplying else (multiplying, ARITHMETIC)
