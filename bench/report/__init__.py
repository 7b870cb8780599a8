"""From a run directory to what people read: a table, Markdown, a page, flat files."""

from __future__ import annotations

from pathlib import Path

from quantswarm.bench.atomic import write_bytes, write_text
from quantswarm.bench.judge.summary import write_summary


def write_all(run_dir: Path, *, include_invalid: bool = False) -> list[Path]:
    """Judge the run again from its raw records and write every output beside them.

    Returns the written paths: summary.json, results.csv, results.parquet, report.md, report.html,
    then samples, cores, gpus and engine.parquet where there is anything to put into them.
    Raises BadFile when the directory holds no cells.
    """
    from quantswarm.bench.report.flat import as_csv
    from quantswarm.bench.report.markdown import as_markdown
    from quantswarm.bench.report.page import as_page
    from quantswarm.bench.report.parquet import as_parquet
    from quantswarm.bench.report.series import write_series
    from quantswarm.bench.report.timeline_svg import timelines

    summary = write_summary(run_dir, include_invalid=include_invalid)
    return [
        run_dir / "summary.json",
        write_text(run_dir / "results.csv", as_csv(summary)),
        write_bytes(run_dir / "results.parquet", as_parquet(summary)),
        write_text(run_dir / "report.md", as_markdown(summary)),
        write_text(run_dir / "report.html", as_page(summary, timelines(run_dir, summary))),
        *write_series(run_dir),
    ]
