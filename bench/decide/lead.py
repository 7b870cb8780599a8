"""Each variant's throughput over the users beside another's, and in words where the lead ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantswarm.bench.compare.ratio import BETTER, SAME, UNKNOWN, WORSE
from quantswarm.bench.decide.case import Case
from quantswarm.bench.decide.crossover import FALLS, Crossing, Step, crossings, trend
from quantswarm.bench.decide.option import Option
from quantswarm.bench.judge.answer import unquantized

SHRINKS, GROWS = "shrinks", "grows"
WHY = (
    "Why a variant of fewer bits can be slower under load: a decoding step reads the weights once "
    "for all its users, so what smaller weights save is shared among them, while dequantizing "
    "and computing are not. The ratios show that a lead shrinks, not which of the two takes it."
)


def leads(case: Case) -> list[dict[str, Any]]:
    """Every variant against the baseline, and, where that is of another engine, against its own
    engine's unquantized variant: there only the quantization differs."""
    found = []
    for variant in case.field.variants:
        mine = [one for one in case.options if one.variant == variant and not one.load.offered]
        for other in _others(case, mine):
            told = _lead(case, mine, other)
            if told is not None:
                found.append(told)
    return found


def explains(found: Sequence[dict[str, Any]]) -> bool:
    """Whether a quantized variant's ratio to one of its own engine is clearly less at the most
    users than at the fewest: then `WHY` is worth telling."""
    return any(lead["same_engine"] and lead["quantized"] and lead["shrinks"] for lead in found)


def _others(case: Case, mine: Sequence[Option]) -> list[str]:
    if not mine or mine[0].variant == case.baseline:
        return []
    base = next((one for one in case.options if one.variant == case.baseline), None)
    found = [case.baseline]
    if (base is None or base.engine != mine[0].engine) and not unquantized(mine[0].quant):
        own = [
            one.variant
            for one in case.options
            if one.engine == mine[0].engine
            and one.model == mine[0].model
            and unquantized(one.quant)
        ]
        found += own[:1]
    return found


def _lead(case: Case, mine: Sequence[Option], other: str) -> dict[str, Any] | None:
    steps = []
    for option in sorted(mine, key=lambda one: one.load.users):
        found = case.field.ratio(option.variant, other, option.load)
        if found is not None:
            step = Step(
                load=option.load.users,
                ratio=found.value,
                low=found.low,
                high=found.high,
                verdict=found.verdict,
            )
            steps.append(step)
    if not steps:
        return None
    first, passed = mine[0], crossings(steps)
    base = next(one for one in case.options if one.variant == other)
    return {
        "model": first.model,
        "variant": first.variant,
        "against": other,
        "kernel": first.kernel,
        "same_engine": first.engine == base.engine,
        "quantized": not unquantized(first.quant),
        "shrinks": changed(steps) == SHRINKS,
        "steps": [step.as_json() for step in steps],
        "crossings": [crossing.as_json() for crossing in passed],
        "sentence": _sentence(first, other, steps, passed),
    }


def _sentence(option: Option, other: str, steps: Sequence[Step], passed: Sequence[Crossing]) -> str:
    kernel = f" (kernel {option.kernel})" if option.kernel else " (kernel n/a)"
    at = ", ".join(_at(step) for step in steps)
    head = f"{option.variant}{kernel} over {other}: {at}"
    if len(steps) < 2:
        return f"{head}. One load tells no crossing."
    if not passed:
        return f"{head}. {_side(steps)}"
    return f"{head}. {' '.join(_passage(crossing, steps) for crossing in passed)}"


def _at(step: Step) -> str:
    mark = {SAME: " (no difference)", UNKNOWN: " (noise not known)"}.get(step.verdict, "")
    return f"{step.ratio:.2f}× at {_users(step.load)}{mark}"


def _side(steps: Sequence[Step]) -> str:
    if all(step.verdict == SAME for step in steps):
        return "No difference at any load measured."
    side = "above" if steps[0].ratio > 1 else "under"
    grown, way = trend(steps) or 1.0, changed(steps)
    told = f"The ratio is {side} 1 at every load measured"
    if way is None:
        return f"{told}; its intervals at the fewest and the most users meet, so no trend is shown."
    much = f"{abs(1 - grown):.0%} {'less' if way == SHRINKS else 'more'}"
    return f"{told}; at the most users it is {much} than at the fewest."


def changed(steps: Sequence[Step]) -> str | None:
    """Whether the ratio at the most users is clearly not that at the fewest: their intervals do
    not meet. None where they do, or are not known."""
    one, other = steps[0], steps[-1]
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return None
    if other.high < one.low:
        return SHRINKS
    return GROWS if other.low > one.high else None


def _passage(crossing: Crossing, steps: Sequence[Step]) -> str:
    way = "falls under" if crossing.way == FALLS else "rises over"
    between = f"between {crossing.after:g} and {crossing.before:g} users"
    text = f"It {way} 1 {between}, at about {crossing.at:.2g} by interpolation."
    if crossing.clear:
        return text
    ends = [s for s in steps if s.load in (crossing.after, crossing.before)]
    unclear = " and ".join(
        _users(step.load) for step in ends if step.verdict not in (BETTER, WORSE)
    )
    return f"{text} At {unclear} the ratio is not clear of the noise, so neither is the crossing."


def _users(load: float) -> str:
    return f"{load:g} user{'' if load == 1 else 's'}"
