"""An option: one variant under one load, with every number that a decision may need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.compare.field import Field
from quantswarm.bench.compare.measure import MEASURES, Load, Measure
from quantswarm.bench.compare.ratio import BETTER, SAME, UNKNOWN, WORSE
from quantswarm.bench.decide.loss import Loss, loss_of
from quantswarm.bench.decide.price import Price
from quantswarm.bench.decide.quantities import QUANTITIES, Evidence

Cell = Mapping[str, Any]
SAME_SHARE = 0.01
"""What has no interval (memory, weights) is not called different under this."""
_MEASURES: Mapping[str, Measure] = {measure.key: measure for measure in MEASURES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A judged cell, sound or not, under the variant's name in the field; with the variant's
    quality document, and the search for saturation that the cell is a trial of."""

    cell: Cell
    variant: str
    quality: Mapping[str, Any] | None = None
    quality_name: str | None = None
    saturation: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """`values` has every declared quantity, None where unknown, and then `missing` says why.
    `rate` is that of an open loop; `cells` are the names of the sound cells behind it all."""

    variant: str
    engine: str
    quant: str
    model: str
    kernel: str | None
    load: Load
    rate: float | None
    cells: tuple[str, ...]
    values: Mapping[str, float | None]
    missing: Mapping[str, str]
    loss: Loss | None
    quality_name: str | None

    def value(self, name: str) -> float | None:
        """A declared quantity."""
        return self.values[name]


def options_of(
    field: Field, sources: Mapping[str, Source], price: Price | None = None
) -> tuple[Option, ...]:
    """One a group of the field, so of sound cells alone. `sources` are keyed by the runs' cells."""
    return tuple(
        _option(group.load, [sources[run.cell] for run in group.runs], price)
        for group in field.groups
    )


def _option(load: Load, found: Sequence[Source], price: Price | None) -> Option:
    first = found[0]
    evidence = Evidence(cells=[one.cell for one in found], quality=first.quality, price=price)
    values = {name: quantity.of(evidence) for name, quantity in QUANTITIES.items()}
    return Option(
        variant=first.variant,
        engine=str(first.cell["engine"]),
        quant=str(first.cell["quant"]),
        model=str(first.cell["model"]),
        kernel=kernel_of(first.cell),
        load=load,
        rate=(first.cell.get("arrivals") or {}).get("rate"),
        cells=tuple(str(one.cell["cell"]) for one in found),
        values=values,
        missing={
            name: QUANTITIES[name].missing(evidence)
            for name, value in values.items()
            if value is None
        },
        loss=loss_of(first.quality),
        quality_name=first.quality_name,
    )


def kernel_of(cell: Cell) -> str | None:
    """What computes the quantized parts, or else the libraries that the server's log names."""
    return cell.get("kernel") or ", ".join(cell.get("kernels") or ()) or None


def differs(field: Field, one: Option, other: Option, name: str) -> str:
    """Whether `one` is better or worse than `other` in a quantity: "no difference" inside the
    noise, "not known" where a value is missing or nothing tells the noise."""
    mine, its = one.value(name), other.value(name)
    quantity = QUANTITIES[name]
    if mine is None or its is None or quantity.larger_is_better is None:
        return UNKNOWN
    measure = _MEASURES.get(quantity.measure or "")
    if measure is not None:
        found = field.ratio(one.variant, other.variant, one.load, measure)
        return found.verdict if found else UNKNOWN
    if name in ("perplexity_increase_percent", "delta_nll", "perplexity", "kl_mean"):
        return _of_quality(one, other, name)
    if abs(mine - its) <= SAME_SHARE * max(abs(mine), abs(its)):
        return SAME
    return BETTER if (mine > its) == quantity.larger_is_better else WORSE


def _of_quality(one: Option, other: Option, name: str) -> str:
    same = one.loss.same_as(other.loss) if one.loss and other.loss else None
    if same is None:
        return UNKNOWN
    if same:
        return SAME
    mine, its = one.value(name), other.value(name)
    return BETTER if mine is not None and its is not None and mine < its else WORSE
