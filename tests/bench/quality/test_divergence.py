"""KL from whole distributions against its definition, and from cut ones against the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantswarm.bench.quality.divergence import bounds, cut, whole

VOCABULARY = 64


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def pair(seed, places=6, noise=0.3, spread=3.0, vocabulary=VOCABULARY):
    """A reference and what was served: the same logits with normal noise on them."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(0, spread, (places, vocabulary))
    served = logits + chance.normal(0, noise, logits.shape)
    return log_softmax(logits), log_softmax(served)


def told_of(served, most, own=None):
    """The likeliest ids of each place, and the token that came."""
    told = [row.argsort()[::-1][:most] for row in served]
    if own is not None:
        pairs = zip(told, own, strict=True)
        told = [ids if one in ids else np.append(ids, one) for ids, one in pairs]
    return told, [row[ids] for row, ids in zip(served, told, strict=True)]


def test_it_is_the_definition_and_none_between_equals():
    reference, served = np.log([[0.5, 0.25, 0.25]]), np.log([[0.25, 0.5, 0.25]])
    assert whole(reference, served) == pytest.approx([0.5 * np.log(2) - 0.25 * np.log(2)])
    assert whole(reference, reference) == pytest.approx([0.0])


def test_a_token_that_the_reference_rules_out_adds_nothing():
    with np.errstate(divide="ignore"):
        reference = np.log([[0.5, 0.5, 0.0]])
    assert whole(reference, np.log([[0.25, 0.25, 0.5]])) == pytest.approx([np.log(2)])


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, VOCABULARY - 1),
    st.floats(0, 2),
    st.floats(0.1, 6),
    st.booleans(),
)
def test_the_interval_holds_the_truth(seed, most, noise, spread, with_own):
    """Given the true largest ratio, no assumption is left: every place lies inside."""
    reference, served = pair(seed, noise=noise, spread=spread)
    own = np.random.default_rng(seed).integers(VOCABULARY, size=len(served)) if with_own else None
    exact = whole(reference, served)
    found = bounds([cut(reference, *told_of(served, most, own))], float((reference - served).max()))
    assert (found.low <= exact + 1e-9).all()
    assert (exact <= found.high + 1e-9).all()
    assert (found.low <= found.best).all()
    assert (found.best <= found.high).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_all_tokens_told_is_exact(seed, noise):
    reference, served = pair(seed, noise=noise)
    found = bounds([cut(reference, *told_of(served, VOCABULARY))])
    exact = whole(reference, served)
    assert found.best == pytest.approx(exact, abs=1e-9)
    assert found.high - found.low == pytest.approx(0, abs=1e-6)
    assert found.covered_mass == pytest.approx(1)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.02, 0.8), st.sampled_from([32, 64, 128]))
def test_without_the_truth_the_mean_still_lies_inside_and_near_the_best(seed, noise, most):
    """2,048 tokens, 200 places: the largest told ratio stands for the rest, as in a run."""
    reference, served = pair(seed, places=200, noise=noise, spread=2.5, vocabulary=2048)
    exact = whole(reference, served).mean()
    halves = [slice(0, 100), slice(100, 200)]
    found = bounds([cut(reference[part], *told_of(served[part], most)) for part in halves])
    assert found.low.mean() <= exact <= found.high.mean()
    assert found.best.mean() == pytest.approx(exact, rel=0.12)
    assert abs(found.best.mean() - exact) <= abs(found.low.mean() - exact)


def test_the_covered_mass_is_the_references_own():
    reference = np.log([[0.5, 0.3, 0.2]])
    found = bounds([cut(reference, [np.array([0, 1])], [np.log([0.6, 0.3])])])
    assert found.covered_mass == pytest.approx(0.8)
