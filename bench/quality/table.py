"""A quality document as people read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantswarm.bench.report import numerals
from quantswarm.bench.report.quality import change

HEADER = ("measure", "value", "what it says")
Document = Mapping[str, Any]


def rows(found: Document) -> list[tuple[str, str, str]]:
    """One line a number; "n/a" for what was not measured."""
    return [
        ("perplexity", numerals.plain(found["perplexity"], digits=5), "exp of the mean nll"),
        ("bits per byte", numerals.plain(found["bits_per_byte"], digits=4), "for any tokenizer"),
        ("Δ perplexity", change(found), f"to {found['reference'] or 'no reference'}"),
        ("Δ nll", _nats(found["delta_nll"]), f"nats; 95 %: {_interval(found['delta_nll_ci'])}"),
        ("KL mean", _nats(found["kl_mean"]), f"nats; {_sureness(found)}"),
        ("KL p99", _nats(found["kl_p99"]), "nats; one token in a hundred is further off"),
        ("top-1 agreement", numerals.share(found["top1_agreement"]), "same likeliest token"),
    ]


def lines(found: Document) -> list[str]:
    """What was scored and how, then the warnings."""
    corpus, told = found["corpus"], []
    bos = "no BOS" if corpus["bos"] is None else f"BOS {corpus['bos'][0]} before each"
    told.append(
        f"{found['engine']} {found['quant']} of {found['model']}: {found['tokens']:,} tokens of"
        f" {corpus['name']}, {corpus['windows']} windows of {corpus['window']}, {bos};"
        f" {found['path']}, {found['seconds']:.1f} s"
    )
    told += [
        f"{one['name']}: {one['seen']}: {one['cause']}. {one['advice']}"
        for one in found["warnings"]
    ]
    return told


def _interval(ends: Any) -> str:
    return numerals.NA if not ends else f"{ends[0]:.5f} to {ends[1]:.5f}"


def _nats(value: float | None) -> str:
    return numerals.NA if value is None else f"{value:.5f}"


def _sureness(found: Document) -> str:
    ends = found["kl_interval"]
    if ends is None:
        return "exact" if found["kl_mean"] is not None else "no reference"
    mass = numerals.share(found["covered_mass"])
    return f"between {_interval(ends)}; {mass} of the reference's mass was told"
