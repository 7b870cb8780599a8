"""Each written source has a matrix, a command and a page, which a run's table can be put into."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from quantswarm.bench.load.scenario import scenario_named
from quantswarm.bench.matrix import FOLDER, matrix_named
from quantswarm.models.source import names

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction_page import END, SECTION, filled, quoted, start
from reproduction_page import FOLDER as PAGES

NAMES = sorted(path.stem for path in (FOLDER / "reproductions").glob("*.toml"))


def test_every_source_has_a_matrix() -> None:
    assert len(NAMES) == 7
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    assert {path.stem for path in PAGES.glob("*.md")} == {"README", *NAMES}
    assert all(f"[{name}]({name}.md)" in index for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_matrix_is_found_by_name_and_holds_claims_for_cpu_and_gpu(name: str) -> None:
    matrix = matrix_named(name)
    assert matrix.claims
    assert scenario_named(matrix.scenario).name == matrix.scenario
    needs = {variant.name: variant.needs for variant in matrix.variants}
    for variant in matrix.variants:
        assert variant.model in names()
        assert (variant.needs == "cuda") == variant.name.endswith("-gpu")
    for claim in matrix.claims:
        assert needs[claim.variant] == needs[claim.baseline], "one device on both sides"
    assert matrix.baseline is not None
    assert needs[matrix.baseline] != "cuda"


@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_the_command_and_a_place_for_results(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert f"quantswarm bench --matrix {name}\n" in text
    assert text.index(start(name)) < text.index(END)
    fixed = text[: text.index(start(name))] + text[text.index(END) :]
    assert len(fixed.splitlines()) <= 60
    for heading in ("## What they report", "## The same here", "## Ours", "## Reading it"):
        assert heading in text


REPORT = f"""# Which?

* run: x
* model: m
* started: today
* matrix: n
* host: h
* versions: v

## Answer

* model: not this one

{SECTION}

| source |
| --- |
| a page |

* a page: reproduced.

## Decision

more
"""


def test_a_runs_table_is_put_between_the_marks_again_and_again() -> None:
    text = quoted(REPORT)
    assert text.splitlines()[:2] == ["* model: m", "* started: today"]
    assert text.endswith("* a page: reproduced.")
    assert "more" not in text
    page = f"before\n{start('n')}\nold\n{END}\nafter\n"
    once = filled(page, "n", text)
    assert once.startswith(f"before\n{start('n')}\n* model: m\n")
    assert once.endswith(f"* a page: reproduced.\n{END}\nafter\n")
    assert filled(once, "n", text) == once


def test_a_report_without_claims_and_a_page_without_marks_are_refused() -> None:
    with pytest.raises(SystemExit, match="holds no claims"):
        quoted("# Which?\n\n## Results\n")
    with pytest.raises(SystemExit, match="no <!-- results: n -->"):
        filled("page", "n", "text")
