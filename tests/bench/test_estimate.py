"""Minutes left: known durations plus starts as they were seen."""

from __future__ import annotations

import pytest

from quantswarm.bench.estimate import CELL_OVERHEAD_S, FIRST_GUESS_S, Estimate
from quantswarm.bench.load.progress import Progress
from quantswarm.bench.matrix import Cell, Variant
from quantswarm.bench.ticker import Ticker

VARIANT = Variant(engine="a", quant="q", model="m")
CELLS = tuple(Cell(variant=VARIANT, users=users, name=f"a-q-u{users}") for users in (1, 8))


def test_a_server_is_started_once_for_all_its_loads() -> None:
    estimate = Estimate(CELLS, cell_s=20.0)
    expected = FIRST_GUESS_S + 2 * (20 + CELL_OVERHEAD_S)
    assert estimate.minutes_left() * 60 == pytest.approx(expected)


def test_a_seen_start_replaces_the_guess_and_finished_cells_leave() -> None:
    estimate = Estimate(CELLS, cell_s=20.0)
    estimate.started("a", 5.0)
    assert estimate.number == 1
    estimate.finished(CELLS[0])
    assert estimate.number == 2
    assert estimate.minutes_left() * 60 == pytest.approx(5 + 20 + CELL_OVERHEAD_S)


def tick(phase: str, elapsed_s: float) -> Progress:
    return Progress(
        phase=phase, elapsed_s=elapsed_s, users=2, started=3, finished=2, failures=0, tokens=9
    )


def test_only_news_is_said() -> None:
    said: list[str] = []
    ticker = Ticker(said.append, "cell")
    for moment in (tick("warm-up", 0), tick("warm-up", 1), tick("window", 2), tick("window", 6.9)):
        ticker(moment)
    ticker(tick("window", 7.0))
    assert [line.split(",")[0] for line in said] == [
        "cell: warm-up",
        "cell: window",
        "cell: window",
    ]


def test_every_round_starts_its_servers_again() -> None:
    again = tuple(Cell(variant=VARIANT, users=1, name=f"r{n}", round=n, block=n) for n in (1, 2))
    expected = 2 * (FIRST_GUESS_S + 20 + CELL_OVERHEAD_S)
    assert Estimate(again, cell_s=20.0).minutes_left() * 60 == pytest.approx(expected)
