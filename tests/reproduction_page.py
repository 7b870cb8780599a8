"""Copy what a run shows of a written source into its page under docs/reproductions.

`python tests/reproduction_page.py NAME RUN_DIR`; tests/bench/test_reproductions.py holds the pages
to their form.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reproductions"
SECTION = "## What others report, and what this run shows"
END = "<!-- /results -->"
HEAD = ("model", "started", "matrix", "host", "versions")


def start(name: str) -> str:
    """The mark that a page has where its results belong."""
    return f"<!-- results: {name} -->"


def quoted(report: str) -> str:
    """Of a run's report.md: what was measured, on what, and its claims."""
    facts = [
        line for line in report.splitlines() if line.startswith(tuple(f"* {key}: " for key in HEAD))
    ]
    after = report.partition(f"{SECTION}\n")[2]
    section = re.split(r"^## ", after, maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not section:
        raise SystemExit("the report holds no claims: was the matrix one of the reproductions?")
    return "\n".join([*facts[: len(HEAD)], "", section])


def filled(page: str, name: str, text: str) -> str:
    """The page with `text` between its marks."""
    before, mark, rest = page.partition(start(name))
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"no {start(name)} … {END} in the page")
    return f"{before}{mark}\n{text}\n{end}{after}"


def main(name: str, run_dir: str) -> None:
    """Fill the page of that name from the run's report.md."""
    page = FOLDER / f"{name}.md"
    report = (Path(run_dir) / "report.md").read_text(encoding="utf-8")
    page.write_text(filled(page.read_text(encoding="utf-8"), name, quoted(report)), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
