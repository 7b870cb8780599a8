import random

import pytest

from quantswarm.bench.judge.steady import mser, steadiness


def _noise(n: int, mean: float = 100.0, sigma: float = 4.0, seed: int = 1) -> list[float]:
    source = random.Random(seed)
    return [source.gauss(mean, sigma) for _ in range(n)]


def test_too_few_batches_are_not_judged() -> None:
    assert steadiness([1.0] * 9) is None


@pytest.mark.parametrize("n", [12, 20, 60, 200])
@pytest.mark.parametrize("seed", range(8))
def test_noise_about_one_level_is_steady(n: int, seed: int) -> None:
    found = steadiness(_noise(n, seed=seed))
    assert found is not None
    assert found.steady


def test_a_constant_series_is_steady() -> None:
    found = steadiness([50] * 30)
    assert found is not None
    assert found.steady


def test_a_late_warm_up_is_found() -> None:
    found = steadiness([40.0 + i for i in range(12)] + _noise(18, sigma=2))
    assert found is not None
    assert not found.steady


def test_a_slow_decline_is_a_trend() -> None:
    found = steadiness([100 - i + noise - 100 for i, noise in enumerate(_noise(40, sigma=2))])
    assert found is not None
    assert found.trend is not None
    assert found.trend < -0.1
    assert not found.steady


def test_mser_leaves_the_transient_out() -> None:
    assert 4 <= mser([10.0] * 4 + _noise(30, sigma=1)) <= 8
    assert mser([7.0] * 20) == 0
