"""The search against oracles whose edge is known: exact ones, noisy ones, broken ones."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantswarm.bench.saturation.conclusion import conclude
from quantswarm.bench.saturation.search import (
    MOST_INVALID,
    Settings,
    Trial,
    at,
    ends,
    next_rate,
    search,
    verdict,
)

Oracle = Callable[[float, int], Trial]


def trial(rate: float, *, good: bool, requests: int = 500, **more: bool) -> Trial:
    return Trial(rate=rate, requests=requests, misses=0 if good else requests, **more)


def edge_at(edge: float) -> Oracle:
    """Everything up to the edge is met, and nothing beyond it."""
    return lambda rate, _: trial(rate, good=rate <= edge)


@given(
    edge=st.floats(0.05, 3000),
    width=st.floats(0.01, 0.5),
    repeats=st.integers(1, 5),
    low=st.none() | st.floats(0.05, 10),
)
def test_the_edge_of_any_oracle_is_found_within_the_width(
    edge: float, width: float, repeats: int, low: float | None
) -> None:
    wanted = Settings(share=0.99, low=low, width=width, repeats=repeats, most_trials=200)
    trials = search(edge_at(edge), wanted)
    found = ends(trials, wanted.share)
    assert len(trials) <= 22 + 8 + 2 * repeats
    if low is not None and low > edge:
        assert found.passing is None
        assert found.failing == low
        return
    assert found.passing is not None
    assert found.failing is not None
    assert found.passing <= edge < found.failing
    assert found.failing <= found.passing * (1 + width) * 1.0001 + 1e-9
    assert len(at(trials, found.passing)) == len(at(trials, found.failing)) == repeats


@given(low=st.floats(0.1, 50), factor=st.floats(1.0, 40), edge=st.floats(0.01, 5000))
def test_no_rate_outside_the_bounds_is_tried(low: float, factor: float, edge: float) -> None:
    wanted = Settings(share=0.99, low=low, high=low * factor)
    rates = [one.rate for one in search(edge_at(edge), wanted)]
    assert min(rates) >= low
    assert max(rates) <= low * factor


@given(seed=st.integers(0, 10_000), most=st.integers(1, 60))
@settings(max_examples=60)
def test_never_more_trials_than_allowed_whatever_the_oracle_says(seed: int, most: int) -> None:
    chance = random.Random(seed)
    wanted = Settings(share=0.99, most_trials=most)
    trials = search(
        lambda rate, _: trial(rate, good=chance.random() < 0.5, valid=chance.random() < 0.8), wanted
    )
    assert len(trials) <= most
    conclude(trials, wanted)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60)
def test_a_coin_as_oracle_still_comes_to_an_end(seed: int) -> None:
    """Each rate is asked a bounded number of times, and rates cannot be halved for ever."""
    chance = random.Random(seed)
    wanted = Settings(share=0.99, low=1, high=64, most_trials=10**6)
    trials = search(lambda rate, _: trial(rate, good=chance.random() < 0.5), wanted)
    assert max(len(at(trials, one.rate)) for one in trials) <= wanted.repeats
    assert len(trials) < 300


def noisy(edge: float, seed: int, requests: int = 400) -> Oracle:
    """Misses get likelier through the edge: 1 % at it, half as many 5 % below, double 5 % above."""
    chance = random.Random(seed)

    def ask(rate: float, _: int) -> Trial:
        share = min(1.0, 0.01 * 2 ** (20 * (rate / edge - 1)))
        misses = sum(chance.random() < share for _ in range(requests))
        return Trial(rate=rate, requests=requests, misses=misses)

    return ask


def test_a_noisy_edge_is_found_to_about_its_noise() -> None:
    wanted = Settings(share=0.99, low=10)
    found = [ends(search(noisy(100, seed), wanted), 0.99).passing for seed in range(50)]
    near = [rate for rate in found if rate is not None and 88 <= rate <= 108]
    assert len(near) >= 48


def test_repeats_overturn_a_lucky_trial() -> None:
    """8 passed by luck; its repeats say no, and the search goes on below it."""
    lucky = {(8.0, 0)}
    wanted = Settings(share=0.99, low=1, width=0.05)
    trials = search(lambda r, n: trial(r, good=r <= 5 or (r, n) in lucky), wanted)
    found = ends(trials, 0.99)
    assert verdict(trials, 8.0, 0.99) is False
    assert found.passing is not None
    assert 4.7 < found.passing <= 5


def test_repeats_overturn_an_unlucky_trial() -> None:
    """8 failed once, for a reason of its own; the majority says that it passes."""
    wanted = Settings(share=0.99, low=1, width=1.0)
    trials = search(lambda r, n: trial(r, good=r < 30 and (r, n) != (8.0, 0)), wanted)
    assert verdict(trials, 8.0, 0.99) is True
    assert ends(trials, 0.99).passing == 16


def test_a_tie_fails() -> None:
    tie = [trial(3, good=True), trial(3, good=False)]
    assert verdict(tie, 3, 0.99) is False


def test_an_unstable_trial_fails_whatever_it_met() -> None:
    assert not trial(3, good=True, unstable=True).passes(0.5)
    assert not Trial(rate=3, requests=0, misses=0).passes(0.5)


def test_a_rate_that_cannot_be_offered_ends_the_search_upwards() -> None:
    wanted = Settings(share=0.99, low=4)
    trials = search(lambda r, _: trial(r, good=True, valid=r < 20), wanted)
    assert {len(at(trials, one.rate)) for one in trials if not one.valid} == {MOST_INVALID}
    found = conclude(trials, wanted)
    assert found.rate is not None
    assert 18 < found.rate < 20
    assert "could not offer" in found.sentence


def test_closed_brackets_are_said_in_words() -> None:
    low = Settings(share=0.99, low=4, high=64)
    assert "Even the lowest rate tried, 4 req/s, fails" in told(edge_at(1), low)
    assert "Even the highest rate tried, 64 req/s, passes" in told(edge_at(1000), low)
    assert "Passes at 16 req/s and no longer at 16" in told(edge_at(16), low)
    capped = Settings(share=0.99, low=4, most_trials=3)
    assert "ended at 3 trials" in told(edge_at(1000), capped)
    assert "No trial was valid" in conclude([], low).sentence


def told(oracle: Oracle, wanted: Settings) -> str:
    return conclude(search(oracle, wanted), wanted).sentence


@pytest.mark.parametrize(
    ("counts", "certified", "words"),
    [
        ([(459, 0)], True, "certified: 459 requests, 0 misses"),
        ([(458, 0)], False, "not certified: 458 requests, 0 misses, need 459"),
        ([(300, 0), (362, 1)], True, "certified: 662 requests, 1 miss;"),
        ([(661, 1)], False, "need 662"),
    ],
)
def test_certificates_pool_the_edges_trials(
    counts: list[tuple[int, int]], certified: bool, words: str
) -> None:
    trials = [Trial(rate=5, requests=n, misses=k) for n, k in counts]
    found = conclude([*trials, trial(6, good=False)], Settings(share=0.99))
    assert found.certified is certified
    assert words in found.certificate
    assert (found.rate, found.fails_at) == (5, 6)


def test_an_unstable_trial_at_the_edge_certifies_nothing() -> None:
    trials = [trial(5, good=True), trial(5, good=True), trial(5, good=True, unstable=True)]
    found = conclude(trials, Settings(share=0.99))
    assert found.rate == 5
    assert not found.certified
    assert "unstable" in found.certificate


def test_the_first_question_without_bounds_is_one_a_second() -> None:
    assert next_rate([], Settings(share=0.99)) == 1
    assert next_rate([], Settings(share=0.99, high=0.5)) == 0.5
    assert next_rate([trial(1, good=False)], Settings(share=0.99)) == 0.5
