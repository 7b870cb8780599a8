"""The case to decide: all options, the baseline, and the field that knows the noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.compare.across import Across, Judged, names_in
from quantswarm.bench.compare.entries import sound, variant_of
from quantswarm.bench.compare.field import Field
from quantswarm.bench.compare.measure import Load
from quantswarm.bench.decide.option import Option, Source, options_of
from quantswarm.bench.decide.price import Price
from quantswarm.bench.judge.answer import unquantized
from quantswarm.bench.judge.quality_files import quality_name

Cell = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`options` are sound; `sources` hold every judged cell. `baseline` is one of the field's
    variants; `remark` says why it is not the one that was asked for."""

    field: Field
    sources: Mapping[str, Source]
    options: tuple[Option, ...]
    baseline: str
    remark: str | None = None
    price: Price | None = None

    @property
    def loads(self) -> tuple[Load, ...]:
        """From light to heavy: closed loops by users, then open ones by rate; by model."""
        rates = {option.load: option.rate or 0.0 for option in self.options}
        return tuple(
            sorted(
                rates, key=lambda load: (load.model, bool(load.offered), load.users, rates[load])
            )
        )

    def at(self, load: Load) -> list[Option]:
        """The options under a load."""
        return [option for option in self.options if option.load == load]

    def find(self, variant: str, load: Load) -> Option | None:
        """One option; None where that variant has no sound cell under that load."""
        return next((one for one in self.at(load) if one.variant == variant), None)

    def left_out(self) -> list[tuple[Source, str]]:
        """Every cell that may not be decided for, and why."""
        return [
            (source, why_not(source.cell))
            for source in self.sources.values()
            if not eligible(source.cell)
        ]


def eligible(cell: Cell) -> bool:
    """Whether a cell may be decided for: sound, and valid whatever else may be compared."""
    return cell["status"] == "ok" and sound(cell)


def why_not(cell: Cell) -> str:
    """Why a cell is not compared."""
    if cell["status"] == "ok":
        return "over 1 % of its requests failed"
    return f"{str(cell['status']).upper()}: {cell['reason'] or 'no reason was recorded'}"


def case_of_run(
    field: Field,
    cells: Sequence[Cell],
    quality: Mapping[str, Any],
    *,
    baseline: str,
    price: Price | None,
) -> Case | None:
    """The cells of one run, of which the field must hold eligible ones alone; None without any."""
    sources = {
        str(cell["cell"]): Source(cell=cell, variant=variant_of(cell), **_quality(quality, cell))
        for cell in cells
    }
    return _case(field, sources, baseline, price)


def case_across(runs: Sequence[Judged], across: Across, price: Price | None) -> Case | None:
    """Several runs in one field, under the names that variants have there."""
    names = names_in(runs)
    sources = {
        f"{run.name}/{cell['cell']}": Source(
            cell=cell,
            variant=names[run.name, variant_of(cell), str(cell["model"])],
            **_quality(run.quality, cell),
            saturation=run.saturation,
        )
        for run in runs
        for cell in run.cells
    }
    return _case(across.field, sources, across.baseline, price)


def _case(
    field: Field, sources: Mapping[str, Source], baseline: str, price: Price | None
) -> Case | None:
    options = options_of(field, sources, price)
    if not options:
        return None
    found = baseline if baseline in field.variants else _other(options)
    remark = f"{baseline} has no valid cell; {found} stands in its place"
    return Case(
        field=field,
        sources=sources,
        options=options,
        baseline=found,
        remark=None if found == baseline else remark,
        price=price,
    )


def _other(options: Iterable[Option]) -> str:
    """The first unquantized variant, or else the first."""
    found = list(options)
    return next((one for one in found if unquantized(one.quant)), found[0]).variant


def _quality(documents: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    name = quality_name(documents, cell)
    return {"quality": None if name is None else documents[name], "quality_name": name}
