"""What a search found, in words and numbers, and whether the objectives' share is certified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from quantswarm.bench.judge.proportion import CONFIDENCE, certifies, requests_to_certify
from quantswarm.bench.saturation.search import Settings, Trial, at, ends, next_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """`rate` is the highest that passed, `fails_at` the lowest that did not; None where there is
    none. Requests and misses are those of all valid trials at `rate`."""

    rate: float | None
    fails_at: float | None
    requests: int
    misses: int
    needed: int | None
    certified: bool
    sentence: str
    certificate: str

    def as_json(self) -> dict[str, Any]:
        """The form that `saturation.json` stores."""
        return asdict(self)


def conclude(trials: Sequence[Trial], settings: Settings) -> Conclusion:
    """The answer as far as the trials give one; they may have ended before the search did."""
    found = ends(trials, settings.share)
    edge = [t for t in at(trials, found.passing) if t.valid] if found.passing is not None else []
    requests, misses = sum(t.requests for t in edge), sum(t.misses for t in edge)
    whole = bool(edge) and not any(trial.unstable for trial in edge)
    return Conclusion(
        rate=found.passing,
        fails_at=found.failing,
        requests=requests,
        misses=misses,
        needed=requests_to_certify(misses, settings.share) if whole else None,
        certified=whole and certifies(requests, misses, settings.share),
        sentence=_sentence(trials, settings),
        certificate=_certificate(requests, misses, settings.share, whole=whole),
    )


def _sentence(trials: Sequence[Trial], settings: Settings) -> str:
    found = ends(trials, settings.share)
    low, high = found.passing, found.failing
    unfinished = "" if next_rate(trials, settings) is None else " The search was ended early."
    if len(trials) >= settings.most_trials:
        unfinished = f" The search was ended at {settings.most_trials} trials."
    if low is None and high is None:
        return "No trial was valid, so there is no answer." + unfinished
    if low is None:
        return f"Even the lowest rate tried, {high:g} req/s, fails.{unfinished}"
    if high is None:
        return (
            f"Even the highest rate tried, {low:g} req/s, passes: "
            f"saturation lies above it.{unfinished}"
        )
    cause = "" if _offered(trials, high) else ", which the load generator could not offer"
    return f"Passes at {low:g} req/s and no longer at {high:g} req/s{cause}.{unfinished}"


def _offered(trials: Sequence[Trial], rate: float) -> bool:
    return any(trial.valid for trial in at(trials, rate))


def _certificate(requests: int, misses: int, share: float, *, whole: bool) -> str:
    confidence = f"{CONFIDENCE:.0%} confidence"
    if not requests:
        return "not certified: no rate passed"
    told = f"{requests} request{_s(requests)}, {misses} miss{'' if misses == 1 else 'es'}"
    if not whole:
        return f"not certified: {told}, and a trial at this rate was unstable"
    if certifies(requests, misses, share):
        return f"certified: {told}; {share:.6g} or more meet the objectives at {confidence}"
    needed = requests_to_certify(misses, share)
    return f"not certified: {told}, need {needed} for {share:.6g} at {confidence}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
