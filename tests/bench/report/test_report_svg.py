"""Colours and marks of the plots."""

from __future__ import annotations

from quantswarm.bench.report.svg import SERIES, mark_of


def test_sixty_four_variants_look_different() -> None:
    looks = {(SERIES[index % len(SERIES)], mark_of(index)) for index in range(64)}
    assert len(looks) == 64
