"""When a loss of quality is one."""

from __future__ import annotations

import math

import pytest

from quantswarm.bench.compare.ratio import BETTER, SAME, UNKNOWN, WORSE
from quantswarm.bench.decide.loss import Loss, loss_of


def loss(low_percent: float | None, high_percent: float | None) -> Loss:
    ends = None
    if low_percent is not None and high_percent is not None:
        ends = [math.log1p(low_percent / 100), math.log1p(high_percent / 100)]
    found = loss_of({"delta_nll": 0.0, "delta_nll_ci": ends, "reference": "r"})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.1, 0.4, SAME),
        (-2.0, 3.0, SAME),
        (0.02, 0.20, SAME),  # q8_0 of tiny: significant, and nothing that anybody would notice
        (0.28, 0.88, WORSE),  # a layer that is off by a twentieth
        (0.49, 0.51, WORSE),
        (-0.9, -0.2, BETTER),
        (-0.4, -0.2, SAME),
        (None, None, UNKNOWN),
    ],
)
def test_a_loss_is_beyond_the_noise_and_not_negligible(low, high, verdict):
    assert loss(low, high).verdict == verdict


def test_two_losses_are_told_apart_where_their_farthest_ends_matter():
    original, eight, four = loss(-0.001, 0.001), loss(0.02, 0.20), loss(0.63, 2.0)
    assert original.same_as(eight)
    assert eight.same_as(original)
    assert not eight.same_as(four)
    assert not four.same_as(original)
    assert four.same_as(loss(1.9, 4.0))
    assert four.same_as(loss(None, None)) is None
