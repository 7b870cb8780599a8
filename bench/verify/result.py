"""What a verification found, as JSON and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.verify.distance import Distance, Share
from quantswarm.bench.verify.verdict import Row, Tolerance, Warned
from quantswarm.engines.base import Precision

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What is known of the server; `kernels` None where it was not started by us."""

    url: str
    version: str | None
    device: str | None
    precision: Precision
    kernels: tuple[str, ...] | None
    warnings: tuple[Warned, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """`rows` begin with the variant's own; `parts` are its errors by part of an answer."""

    engine: str
    quant: str
    model: str
    server: Server
    verdict: str
    rows: tuple[Row, ...]
    noise: Distance
    allowed: Tolerance
    parts: Mapping[str, Distance]
    positions: Mapping[str, int]
    weights_bytes: int | None
    warnings: tuple[Warned, ...]

    def document(self) -> dict[str, Any]:
        """The one document of `verify --json`; docs/verify.md describes it."""
        names = ("name", "seen", "cause", "advice")
        return {
            "schema": SCHEMA,
            "engine": self.engine,
            "quant": self.quant,
            "model": self.model,
            "url": self.server.url,
            "version": self.server.version,
            "device": self.server.device,
            "dtype": self.server.precision.dtype,
            "cache": {
                "keys": self.server.precision.keys,
                "values": self.server.precision.values,
            },
            "kernels": None if self.server.kernels is None else list(self.server.kernels),
            "weights_bytes": self.weights_bytes,
            "positions": dict(self.positions),
            "references": [row.document() for row in self.rows],
            "error_by_part": {name: part.document() for name, part in self.parts.items()},
            "noise": self.noise.document(),
            "tolerance": {"mean": self.allowed.mean, "max": self.allowed.largest},
            "verdict": self.verdict,
            "warnings": [dict(zip(names, one, strict=True)) for one in self.warnings],
        }


def lines(result: Result) -> list[str]:
    """What a person reads below the table of references."""
    told = [f"{name.ljust(11)}  {text}" for name, text in _facts(result)]
    warned = [
        f"warning ({name}): {seen}: {cause}. {advice}"
        for name, seen, cause, advice in result.warnings
    ]
    return [*told, *warned]


def _facts(result: Result) -> list[tuple[str, str]]:
    at, kernels = result.positions, result.server.kernels
    dtype = result.server.precision.dtype or "float32"
    noise, most = _pair(result.noise.mean, result.noise.largest), result.allowed
    parts = "; ".join(
        f"{name} {_pair(part.mean, part.largest)}"
        for name, part in result.parts.items()
        if part.values
    )
    compared = f"{result.rows[0].served.values:,} values of {at['prompts']} prompts, at"
    made = f"{result.weights_bytes / 1e6:,.1f} MB on disk" if result.weights_bytes else "n/a"
    return [
        ("compared", f"{compared} {at['prompt']} places in them and {at['generated']} after them"),
        ("by part", parts or "n/a"),
        ("noise", f"{dtype}: {noise}; allowed {_pair(most.mean, most.largest)}"),
        ("kernels", "n/a" if kernels is None else ", ".join(kernels) or "none named"),
        ("weights", made),
        ("verdict", result.verdict),
    ]


def _pair(mean: float | None, largest: float | None) -> str:
    return f"{number(mean)} mean, {number(largest)} max"


def table(result: Result) -> list[tuple[str, ...]]:
    """One row a reference: error of what was served, and the reference's own distance."""
    return [
        (
            number(row.served.mean),
            number(row.served.largest),
            number(row.from_variant.mean),
            _share(row.share),
            _share(row.noise),
            row.label,
        )
        for row in result.rows
    ]


HEADER = ("mean error", "max error", "from variant", "share", "noise's share", "reference")


def _share(share: Share | None) -> str:
    return "" if share is None else f"{share.value:.2f} ± {share.error:.2f}"


def number(value: float | None) -> str:
    """Three digits; n/a for what is not there."""
    return "n/a" if value is None else f"{value:.3g}"
