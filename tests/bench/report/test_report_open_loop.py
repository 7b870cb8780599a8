"""Cells of an open loop have no users: every label of theirs is the rate that was offered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_run import Load, write_cell, write_run

from quantswarm.bench.judge.summary import summarise
from quantswarm.bench.report.frontier import frontier
from quantswarm.bench.report.markdown import as_markdown
from quantswarm.bench.report.page import as_page
from quantswarm.bench.report.plots import _levels
from quantswarm.bench.report.terminal import table

RATES = (10.0, 5.0, 2.5)


@pytest.fixture
def summary(tmp_path: Path) -> dict[str, Any]:
    run = write_run(tmp_path / "run")
    for number, rate in enumerate(RATES, start=1):
        arrivals = {"kind": "poisson", "rate": rate}
        folder = write_cell(run, "vllm", "bf16", Load(users=number), arrivals=arrivals)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"users": 0}))
    return summarise(run)


def test_cells_and_answers_are_in_order_of_the_rate(summary: dict[str, Any]) -> None:
    rates = sorted(RATES)
    assert [cell["arrivals"]["rate"] for cell in summary["cells"]] == rates
    assert [answer["load"] for answer in summary["answers"]] == [
        f"{rate:g} req/s, poisson" for rate in rates
    ]
    assert _levels(summary["cells"]) == [answer["load"] for answer in summary["answers"]]


def test_nobody_is_told_of_0_users(summary: dict[str, Any]) -> None:
    for text in (as_page(summary), as_markdown(summary), table(summary)):
        assert "0 users" not in text
        assert "2.5 req/s, poisson" in text


def test_marks_of_the_frontier_are_rates(summary: dict[str, Any]) -> None:
    (axes,) = frontier(summary["cells"]).axes
    assert [text.get_text() for text in axes.texts] == ["2.5/s", "5/s", "10/s"]
