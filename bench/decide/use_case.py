"""Use cases: what each optimises, under which limits, and at which load if none is asked for.

The limits are choices of ours, to be replaced by your own with --constraint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quantswarm.bench.decide.constraint import Constraint, constraint
from quantswarm.models.errors import UnknownName

MOST, FEWEST = "the most users measured", "the fewest users measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCase:
    """`goals` are quantities: the first decides, the next only between options that do not differ
    in it. A limit that cannot be held against an option, since the number was not measured, does
    not exclude it and is told; one that a user asks for does. `load` is MOST or FEWEST."""

    name: str
    words: str
    goals: tuple[str, ...]
    limits: tuple[Constraint, ...] = ()
    load: str = MOST


ANY = UseCase(name="throughput", words="the highest output", goals=("output_tok_s", "memory_gb"))
"""What is optimised where no use case is named."""

USE_CASES: Mapping[str, UseCase] = {
    case.name: case
    for case in (
        UseCase(
            name="chat",
            words="the highest output while people who read along do not wait",
            goals=("output_tok_s", "perplexity_increase_percent", "memory_gb"),
            limits=(
                constraint("ttft_p95_ms<1000"),
                constraint("tpot_p95_ms<100"),
                constraint("perplexity_increase_percent<5"),
            ),
        ),
        UseCase(
            name="code",
            words="the highest output at little loss: one wrong token breaks a program",
            goals=("output_tok_s", "perplexity_increase_percent", "memory_gb"),
            limits=(
                constraint("ttft_p95_ms<1000"),
                constraint("perplexity_increase_percent<1"),
                constraint("top1_agreement>0.95"),
            ),
        ),
        UseCase(
            name="maths",
            words="the highest output at almost no loss: long chains add errors up",
            goals=("output_tok_s", "kl_mean", "memory_gb"),
            limits=(
                constraint("perplexity_increase_percent<1"),
                constraint("kl_mean<0.01"),
                constraint("top1_agreement>0.97"),
            ),
        ),
        UseCase(
            name="long-context",
            words="the smallest cache a token, then the quickest prefill",
            goals=("kv_bytes_per_token", "ttft_p50_ms", "memory_gb"),
            limits=(constraint("perplexity_increase_percent<5"),),
            load=FEWEST,
        ),
        UseCase(
            name="edge",
            words="the least memory that still answers at reading speed",
            goals=("memory_gb", "weights_gb", "output_tok_s"),
            limits=(
                constraint("tpot_p50_ms<200"),
                constraint("perplexity_increase_percent<10"),
            ),
            load=FEWEST,
        ),
    )
}


def use_case_named(name: str | None) -> UseCase:
    """`ANY` for None; `UnknownName` with near misses."""
    if name is None:
        return ANY
    if name not in USE_CASES:
        raise UnknownName("use case", name, USE_CASES, next_step="--use-case with one of these")
    return USE_CASES[name]
