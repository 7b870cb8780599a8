"""What a recommendation does not know: said beside it, so that nobody takes it for more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quantswarm.bench.compare.floor import HALVES
from quantswarm.bench.compare.measure import HEADLINE, Load
from quantswarm.bench.decide.case import Case
from quantswarm.bench.decide.constraint import Constraint
from quantswarm.bench.decide.option import Option
from quantswarm.bench.decide.quantities import NO_QUALITY
from quantswarm.bench.decide.use_case import UseCase
from quantswarm.bench.decide.verdict import verdicts


def not_measured(
    case: Case, load: Load, use_case: UseCase, constraints: Sequence[Constraint]
) -> list[str]:
    """A sentence each, for the options under this load."""
    options = case.at(load)
    return [
        *_quality(options),
        *_limits(options, [*use_case.limits, *constraints]),
        *_goals(options, use_case),
        *_noise(case, load),
        *_scope(case, options),
    ]


def _quality(options: Sequence[Option]) -> Iterator[str]:
    lacking = [option.variant for option in options if option.loss is None]
    if lacking:
        whose = "any variant" if len(lacking) == len(options) else _listed(lacking)
        yield f"Quality was not measured for {whose}: no limit or goal of it could hold or decide."


def _limits(options: Sequence[Option], limits: Sequence[Constraint]) -> Iterator[str]:
    for limit in limits:
        unknown = {
            option.variant: str(found.unknown)
            for option in options
            for found in verdicts(option, [limit])
            if found.value is None and found.unknown != NO_QUALITY
        }
        if unknown:
            reasons = "; ".join(dict.fromkeys(unknown.values()))
            yield f"{limit} could not be checked for {_listed(list(unknown))}: {reasons}."


def _goals(options: Sequence[Option], use_case: UseCase) -> Iterator[str]:
    for goal in use_case.goals:
        lacking = [
            option.variant
            for option in options
            if option.value(goal) is None and option.missing[goal] != NO_QUALITY
        ]
        if lacking:
            yield f"{goal} is not known of {_listed(lacking)}, so it did not decide."


def _noise(case: Case, load: Load) -> Iterator[str]:
    groups = [case.field.group(option.variant, load) for option in case.at(load)]
    if max((len(group.runs) for group in groups if group), default=0) < 2:
        yield "Everything was measured once: how far new starts of a server differ is not known."
    floor = case.field.floor(load, HEADLINE)
    if floor is None:
        yield "There is no noise floor: windows are too short, or hold too little."
    elif floor.kind == HALVES:
        yield "The noise floor is between halves of one window, which is weaker than rounds."


def _scope(case: Case, options: Sequence[Option]) -> Iterator[str]:
    models = list(dict.fromkeys(option.model for option in options))
    loads = list(dict.fromkeys(load.words for load in case.loads))
    yield f"Only {_listed(models)} was measured: other models and sizes may rank otherwise."
    yield f"Only these loads were measured: {_listed(loads)}."
    hosts = [source.cell.get("host") or {} for source in case.sources.values()]
    if not any(host.get("gpus") for host in hosts):
        yield "There was no GPU."
    if not any(option.value("tokens_per_joule") is not None for option in options):
        yield f"Energy: {options[0].missing.get('tokens_per_joule', 'not read')}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
