import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from made_run import write_showcase

from quantswarm.bench import report
from quantswarm.bench.report import numerals
from quantswarm.bench.report.flat import fields

OUTPUTS = {"summary.json", "results.csv", "results.parquet", "report.md", "report.html"}


def test_every_output_is_written(showcase: Path) -> None:
    names = {path.name for path in showcase.iterdir() if path.is_file()}
    assert names == OUTPUTS | {"run.json"}


def test_writing_again_changes_nothing(showcase: Path) -> None:
    before = {path: path.read_bytes() for path in showcase.iterdir() if path.name in OUTPUTS}
    assert {path: path.read_bytes() for path in report.write_all(showcase)} == before


def test_csv_and_parquet_hold_the_summarys_numbers(showcase: Path, summary: dict[str, Any]) -> None:
    with (showcase / "results.csv").open(encoding="utf-8", newline="") as file:
        plain = list(csv.DictReader(file))
    typed = pyarrow.parquet.read_table(showcase / "results.parquet").to_pylist()
    assert list(plain[0]) == list(typed[0]) == list(fields())
    for cell, a, b in zip(summary["cells"], plain, typed, strict=True):
        assert a["cell"] == b["cell"] == cell["cell"]
        assert b["output_throughput"] == cell["output_throughput"]
        assert a["output_throughput"] == _text(cell["output_throughput"])
        assert b["ttft_p50_ms"] == cell["ttft_p50_ms"]
        assert b["itl_p99_ms"] == cell["itl_p99_ms"]
        assert b["requests"] == cell["requests"]


def _text(value: float | None) -> str:
    return "" if value is None else str(value)


def test_unknown_columns_keep_their_type(showcase: Path) -> None:
    schema = pyarrow.parquet.read_schema(showcase / "results.parquet")
    assert str(schema.field("ttft_p999_ms").type) == "double"
    assert str(schema.field("users").type) == "int64"


def test_a_report_needs_no_engine_and_no_load_package(tmp_path: Path) -> None:
    run_dir = write_showcase(tmp_path / "run")
    code = (
        "import sys\n"
        "for name in ('locust', 'gevent', 'vllm', 'torch', 'llama_cpp', 'openai', 'psutil'):\n"
        "    sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from quantswarm.bench import report\n"
        f"report.write_all(Path({str(run_dir)!r}))\n"
        "bad = [m for m in sys.modules if m.startswith(('quantswarm.engines.', "
        "'quantswarm.bench.load'))]\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert json.loads((run_dir / "summary.json").read_text())["schema"] == 1


def test_heavy_packages_wait_until_they_are_needed() -> None:
    code = (
        "import sys\n"
        "import quantswarm.bench.report, quantswarm.bench.report.terminal\n"
        "import quantswarm.bench.report.page, quantswarm.bench.report.parquet\n"
        "heavy = {'numpy', 'matplotlib', 'pyarrow', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (0, "0"),
        (0.0123, "0.012"),
        (0.5, "0.500"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (12345.6, "12,346"),
        (-1.5, "-1.50"),
    ],
)
def test_numbers_have_about_three_digits(value: float | None, text: str) -> None:
    assert numerals.plain(value) == text


def test_units() -> None:
    assert numerals.megabytes(14_700_000) == "14.7 MB"
    assert numerals.megabytes(1_440_000_000) == "1.44 GB"
    assert numerals.share(0.5) == "50%"
    assert numerals.share(None) == "n/a"
    assert numerals.seconds(57.12) == "57 s"
    assert numerals.withheld(None, 12) == "n/a (n=12)"
    assert numerals.withheld(None, None) == "n/a"
