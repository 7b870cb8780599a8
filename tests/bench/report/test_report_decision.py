"""The decision in reports: sections, links, plots, and the columns of the exports."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from decided_run import write_decided

from quantswarm.bench import report
from quantswarm.bench.decide.price import given_price, store_price
from quantswarm.bench.judge.summary import summarise
from quantswarm.bench.report.markdown import as_markdown
from quantswarm.bench.report.page import as_page


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_decided(tmp_path_factory.mktemp("runs") / "decided")
    price = given_price(3.6, None)
    assert price is not None
    store_price(run, price)
    report.write_all(run)
    return run


@pytest.fixture(scope="module")
def page(decided: Path) -> str:
    return (decided / "report.html").read_text(encoding="utf-8")


def test_the_page_has_the_decision_with_its_plots(page: str) -> None:
    assert '<section id="decision">' in page
    for title in (
        "Throughput against perplexity increase, 1 user",
        "Throughput against peak memory, 8 users",
        "Throughput beside the baseline over the users",
    ):
        assert f'aria-label="{title}.' in page
    assert "llamacpp-q4_k_m (q4_k_m_gemm_avx512)" in page
    assert "It falls under 1 between 1 and 8 users" in page


def test_losses_lead_to_the_quality_documents(page: str, decided: Path) -> None:
    assert 'href="quality/llamacpp-q4_k_m.json">+3.05%' in page
    assert (decided / "quality/llamacpp-q4_k_m.json").is_file()


def test_markdown_says_the_same(decided: Path) -> None:
    text = as_markdown(summarise(decided))
    assert "## Decision" in text
    assert "| llamacpp-q4_k_m |" in text
    assert "the Pareto front is" in text
    assert "Price: 3.6 currency units an hour: as given." in text


def test_exports_carry_cost_and_energy(decided: Path) -> None:
    with (decided / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        cost = 1000 / float(row["output_throughput"])
        assert float(row["cost_per_million"]) == pytest.approx(cost)
        assert row["tokens_per_joule"] == ""
        assert row["energy_of"]


def test_numbers_over_rounds_lead_to_the_list_of_their_files(decided: Path) -> None:
    summary: dict[str, Any] = summarise(decided)
    again = [{**cell, "cell": f"{cell['cell']}-round2", "round": 2} for cell in summary["cells"]]
    page = as_page(summary | {"cells": summary["cells"] + again, "decision": None})
    assert 'href="#raw-llamacpp-f16-u1"' in page
    assert 'id="raw-llamacpp-f16-u1"' in page
    assert 'href="cells/llamacpp-f16-u1-round2/records.jsonl"' in page


def test_a_run_with_one_variant_has_no_decision(decided: Path) -> None:
    summary = summarise(decided)
    assert '<section id="decision">' not in as_page(summary | {"decision": None})
