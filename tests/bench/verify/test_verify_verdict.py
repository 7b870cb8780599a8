"""When a variant matches, and what is said when it does not, or cannot be known."""

from __future__ import annotations

import dataclasses

import pytest

from quantswarm.bench.verify.distance import Distance, Share
from quantswarm.bench.verify.verdict import (
    DIFFERS,
    LARGEST_FLOOR,
    MATCHES,
    MEAN_FLOOR,
    Row,
    remarks,
    tolerance,
    verdict,
)

NOTHING = Distance(mean=None, largest=None, values=0)


def distance(mean: float, largest: float) -> Distance:
    return Distance(mean=mean, largest=largest, values=100)


def row(served: Distance, share: Share | None = None) -> Row:
    away = distance(0.1, 0.5)
    return Row(name="x", label="another way", served=served, from_variant=away, share=share)


def at(value: float, error: float) -> Row:
    return row(distance(0.01, 0.05), Share(value=value, error=error))


ALLOWED = tolerance(distance(0.01, 0.1))


@pytest.mark.parametrize(
    ("mean", "largest", "expected"),
    [
        (0.0, 0.0, MATCHES),
        (0.02, 0.4, MATCHES),
        (0.021, 0.4, DIFFERS),
        (0.02, 0.41, DIFFERS),
        (float("nan"), 0.1, DIFFERS),
    ],
)
def test_twice_the_mean_noise_and_four_times_the_largest(mean, largest, expected):
    assert verdict(row(distance(mean, largest)), None, ALLOWED) == expected


def test_without_noise_the_floor_is_allowed():
    allowed = tolerance(distance(0, 0))
    assert (allowed.mean, allowed.largest) == (MEAN_FLOOR, LARGEST_FLOOR)


def test_nothing_compared_proves_nothing():
    assert verdict(row(NOTHING), None, ALLOWED) == DIFFERS


@pytest.mark.parametrize(
    ("share", "expected", "warned"),
    [
        ((0.0, 0.05), MATCHES, []),
        ((0.3, 0.05), MATCHES, []),
        ((0.4, 0.2), MATCHES, ["cannot-tell-apart"]),
        ((1.0, 0.4), MATCHES, ["cannot-tell-apart"]),
        ((1.0, 0.1), DIFFERS, ["not-quantized"]),
    ],
)
def test_the_original_in_the_variants_place_is_found_within_the_noise(share, expected, warned):
    original = at(*share)
    assert verdict(row(distance(0.01, 0.1)), original, ALLOWED) == expected
    assert [name for name, *_ in remarks([], original)] == warned


@pytest.mark.parametrize(("share", "warned"), [((0.5, 0.05), True), ((0.25, 0.1), False)])
def test_a_deviation_is_named_when_it_is_sure(share, warned):
    found = remarks([at(*share)], None)
    assert [name for name, *_ in found] == (["other-arithmetic"] if warned else [])


def test_what_noise_does_by_itself_is_no_deviation():
    """Noise flips coarsely rounded values, on average back to where they came from."""
    noisy = dataclasses.replace(at(0.35, 0.03), noise=Share(value=0.28, error=0.05))
    assert remarks([noisy], None) == []
    calm = dataclasses.replace(at(0.35, 0.03), noise=Share(value=0.01, error=0.01))
    assert [name for name, *_ in remarks([calm], None)] == ["other-arithmetic"]
