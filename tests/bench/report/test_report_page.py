import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.report.page import as_page

VOID = {"meta", "br", "link", "img", "input", "hr"}


class _Page(HTMLParser):
    """Collects elements and checks that every one is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]


def _parsed(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def text(showcase: Path) -> str:
    return (showcase / "report.html").read_text(encoding="utf-8")


def test_nothing_is_fetched_from_anywhere(text: str) -> None:
    page = _parsed(text)
    assert page.values("src") == []
    assert all(link.startswith(("#", "cells/", "quality/")) for link in page.values("href"))
    assert "@import" not in text
    assert all(found.startswith("#") for found in re.findall(r"url\(([^)]*)\)", text))
    assert "://" not in text


def test_ids_are_unique_and_every_link_has_its_target(text: str) -> None:
    page = _parsed(text)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.values("href") if link.startswith("#")} <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)


def test_numbers_lead_to_the_raw_files_beside_the_page(text: str, showcase: Path) -> None:
    links = [link for link in _parsed(text).values("href") if not link.startswith("#")]
    assert {"cells/vllm-bf16-u1/records.jsonl", "cells/vllm-bf16-u1/manifest.json"} <= set(links)
    assert [link for link in links if not (showcase / link).is_file()] == []


def test_every_cell_is_in_the_table_and_in_the_details(text: str, summary: dict[str, Any]) -> None:
    page = _parsed(text)
    names = [cell["cell"] for cell in summary["cells"]]
    assert page.values("data-cell") == names
    assert {f"cell-{name}" for name in names} <= set(page.values("id"))


def test_answers_and_warnings_are_there(text: str, summary: dict[str, Any]) -> None:
    shown = " ".join(" ".join(_parsed(text).text).split())
    for answer in summary["answers"]:
        assert answer["sentence"] in shown
    for cell in summary["cells"]:
        for warning in cell["warnings"]:
            assert warning["name"] in shown
            assert warning["seen"] in shown
    assert "One run, no interval" in shown
    assert "not enough memory" in shown


def test_plots_are_inline_with_text_as_text_and_the_pages_colours(text: str) -> None:
    everything = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    drawings = [found for found in everything if 'class="timeline"' not in found]
    # The decision has a front for each load, and the leads; the footprint has two.
    assert len(drawings) == 8 + 3 + 2
    for drawing in drawings:
        assert 'role="img"' in drawing
        assert "aria-label=" in drawing
        assert "llamacpp q8_0" in drawing or "llamacpp-f16" in drawing
        assert "var(--" in drawing
        assert "#0a00" not in drawing
        assert "<metadata" not in drawing


def test_every_measured_cell_has_a_figure_over_time(text: str, summary: dict[str, Any]) -> None:
    figures = re.findall(r'<svg class="timeline"[^>]*aria-label="([^"]*) over time', text)
    assert figures == [c["cell"] for c in summary["cells"] if c["requests"] is not None]


def test_the_servers_times_stand_beside_the_clients(summary: dict[str, Any]) -> None:
    said = {"n": 99, "mean_ms": 21.5, "p50_ms": 21.25, "p50_bucket_ms": [20.0, 40.0]}
    said |= {"p99_ms": None, "p99_bucket_ms": [2560.0, None]}
    cell = next(c for c in summary["cells"] if c["requests"])
    peaks = dict.fromkeys(("running_peak", "waiting_peak", "kv_cache_peak"))
    rest = ("prefix_hit_rate", "preemptions", "server_tokens", "client_tokens", "itl_mean_ms")
    view = (
        peaks | dict.fromkeys(rest) | {"scrapes": 9, "gaps": 0, "ttft_mean_ms": 21.5, "ttft": said}
    )
    page = as_page(summary | {"cells": [cell | {"engine_view": view}], "answers": []})
    shown = " ".join(" ".join(_parsed(page).text).split())
    assert "server says client saw TTFT mean 21.5" in shown
    assert "about 21.2 (between 20 and 40)" in shown
    assert "over 2560" in shown
    assert "ITL mean" not in shown


def test_only_valid_cells_are_drawn(text: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    throughput = next(d for d in drawings if 'aria-label="Output throughput.' in d)
    assert ">invalid<" in throughput
    assert ">failed<" in throughput


def test_text_from_outside_is_escaped(summary: dict[str, Any]) -> None:
    cell = summary["cells"][0] | {
        "reason": "<script>alert(1)</script>",
        "status": "failed",
        "engine": "<b>&",
    }
    page = as_page(summary | {"cells": [cell], "answers": []})
    assert "<script>alert" not in page
    assert "<b>&" not in page
    _parsed(page)


def test_two_models_share_no_id_and_no_axis(summary: dict[str, Any]) -> None:
    cells = summary["cells"] + [
        cell | {"model": "big", "cell": f"big-{cell['cell']}"} for cell in summary["cells"]
    ]
    page = as_page(summary | {"cells": cells})
    ids = _parsed(page).values("id")
    assert len(ids) == len(set(ids))
    assert page.count("<svg ") == 16 + 3 + 4


def test_a_run_with_nothing_but_failures_still_has_a_page(summary: dict[str, Any]) -> None:
    cell = next(cell for cell in summary["cells"] if cell["status"] == "failed")
    answer = {
        "model": "tiny",
        "users": 8,
        "load": "8 users",
        "best": None,
        "sentence": "At 8 users: no answer.",
    }
    page = as_page(summary | {"cells": [cell], "answers": [answer]})
    assert "At 8 users: no answer." in page
