"""Golden files: set QUANTSWARM_WRITE_GOLDEN=1 to write them anew, then read the difference."""

import os
from pathlib import Path
from typing import Any

from quantswarm.bench.report.markdown import as_markdown, main_table
from quantswarm.bench.report.terminal import table

GOLDEN = Path(__file__).parent / "golden"


def _same_as(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("QUANTSWARM_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_markdown_report(summary: dict[str, Any]) -> None:
    _same_as("report.md", as_markdown(summary))


def test_terminal_table(summary: dict[str, Any]) -> None:
    _same_as("terminal.txt", table(summary))


def test_the_table_fits_a_terminal_and_lines_up(summary: dict[str, Any]) -> None:
    lines = table(summary).splitlines()
    assert max(len(line) for line in lines) <= 120
    rule = next(i for i, line in enumerate(lines) if line.startswith("─"))
    ends = {line.index("tok/s") + 5 for line in lines[:rule] if "tok/s" in line}
    column = ends.pop()
    for row in lines[rule + 1 : rule + 11]:
        assert row[column - 1].isdigit() or row[:column].endswith("n/a")
        assert row[column] == " "


def test_long_names_drop_columns_and_never_the_number(summary: dict[str, Any]) -> None:
    cells = [cell | {"engine": "an-engine-with-quite-a-long-name"} for cell in summary["cells"]]
    cells[0]["model"] = "another"
    text = table(summary | {"cells": cells})
    assert max(len(line) for line in text.splitlines()) <= 120
    assert "model" in text.splitlines()[0]
    assert "load" not in text.splitlines()[0]
    assert " 709 " in text


def test_unknown_is_never_nought(summary: dict[str, Any]) -> None:
    failed = next(
        line for line in table(summary).splitlines() if " failed " in line and "8" in line
    )
    assert " 0" not in failed
    row = next(x for x in main_table(summary["cells"]).splitlines() if "8 | failed |" in x)
    assert "| 0 |" not in row
    assert row.count("n/a") >= 8


def test_withheld_percentiles_say_of_how_many(summary: dict[str, Any]) -> None:
    assert "n/a (n=43)" in table(summary)
    assert "n/a (n=1,598)" in table(summary)


def test_text_from_outside_cannot_break_a_table(summary: dict[str, Any]) -> None:
    cells = [summary["cells"][0] | {"status": "failed", "reason": "a | b\n\n# c *d* <e>"}]
    text = as_markdown(summary | {"cells": cells, "answers": []})
    assert "a \\| b # c \\*d\\* \\<e>" in text
    assert "\n# c" not in text


def test_the_cached_share_stands_beside_every_cell_with_its_source(summary: dict[str, Any]) -> None:
    said = {"prefix_hit_rate": 0.5, "prefix_hit_source": "engine's counters"}
    cells = [summary["cells"][0] | said, summary["cells"][1] | {"prefix_hit_rate": None}]
    cells[1]["prefix_hit_source"] = None
    rows = [row for row in main_table(cells).splitlines() if row.startswith("| llamacpp")]
    assert "| 50% |" in rows[0]
    assert "| n/a |" in rows[1]
    heads = main_table([cells[1]]).splitlines()[0]
    assert "cached (prompt)" in heads
    assert "| 0% (answers) |" in main_table(summary["cells"])
