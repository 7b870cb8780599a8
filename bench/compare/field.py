"""Everything that runs against each other: groups, the floors among them, and any pair's ratio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quantswarm.bench.compare.floor import Floor, floor_of
from quantswarm.bench.compare.measure import HEADLINE, MEASURES, Group, Load, Measure, Run, grouped
from quantswarm.bench.compare.ratio import Ratio, ratio


class Field:
    """Answers for pairs of variants; what was once computed is kept."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.groups = grouped(runs)
        self._floors: dict[tuple[Load, str], Floor | None] = {}
        self._ratios: dict[tuple[str, str, Load, str], Ratio | None] = {}

    @property
    def loads(self) -> tuple[Load, ...]:
        """Every load, in order of first appearance."""
        return tuple(dict.fromkeys(group.load for group in self.groups))

    @property
    def variants(self) -> tuple[str, ...]:
        """Every variant's name, in order of first appearance."""
        return tuple(dict.fromkeys(group.variant for group in self.groups))

    @property
    def rounds(self) -> int:
        """The most rounds that any group has."""
        return max((len(group.runs) for group in self.groups), default=0)

    def group(self, variant: str, load: Load) -> Group | None:
        """The runs of a variant under a load."""
        mine = (group for group in self.groups if group.load == load)
        return next((group for group in mine if group.variant == variant), None)

    def floor(self, load: Load, measure: Measure) -> Floor | None:
        """The noise floor of one measure at one load."""
        key = (load, measure.key)
        if key not in self._floors:
            self._floors[key] = floor_of(self.groups, load, measure)
        return self._floors[key]

    def ratio(
        self, variant: str, baseline: str, load: Load, measure: Measure = HEADLINE
    ) -> Ratio | None:
        """variant / baseline; None where one of them has no number to compare."""
        key = (variant, baseline, load, measure.key)
        if key not in self._ratios:
            self._ratios[key] = self._ratio(
                self.group(variant, load), self.group(baseline, load), load, measure
            )
        return self._ratios[key]

    def _ratio(
        self, one: Group | None, other: Group | None, load: Load, measure: Measure
    ) -> Ratio | None:
        if one is None or other is None:
            return None
        return ratio(one, other, measure, self.floor(load, measure))

    def against(
        self, baseline: str, measures: Iterable[Measure] = MEASURES
    ) -> Iterator[tuple[Load, Ratio]]:
        """Every other variant against the baseline, by load, then by measure."""
        chosen = tuple(measures)
        for load in self.loads:
            for measure in chosen:
                for variant in self.variants:
                    found = self.ratio(variant, baseline, load, measure)
                    if found is not None and variant != baseline:
                        yield load, found
