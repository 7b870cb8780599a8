"""Claims in the reports: a table ready to be quoted, and a sentence for each."""

from __future__ import annotations

from pathlib import Path

from made_run import Load, write_cell, write_run

from quantswarm.bench.judge.summary import summarise
from quantswarm.bench.report.claimed import TITLE
from quantswarm.bench.report.markdown import as_markdown
from quantswarm.bench.report.memory_time import memory_time
from quantswarm.bench.report.page import as_page
from quantswarm.bench.report.terminal import table

CLAIM = {
    "source": "a page | of theirs",
    "statement": "half the memory",
    "theirs": 0.5,
    "theirs_most": None,
    "metric": "memory_gb",
    "variant": "vllm-int8",
    "baseline": "vllm-fp32",
    "users": 1,
    "model": "tiny",
    "note": "a GPU there",
}


TABLE = """\
| source | statement | metric | variant | baseline | users | theirs | ours | 95 % interval | \
ours / theirs | verdict |
| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |
| a page \\| of theirs | half the memory | peak memory (GB) | vllm-int8: 0.400 | vllm-fp32: 0.800 \
| 1 | 0.50× | 0.50× | n/a | 1.00 | reproduced |
| a page \\| of theirs | half the memory | peak memory (GB) | far | vllm-fp32 | 1 | 0.50× | n/a \
| n/a | n/a | not measured |"""


def write(folder: Path) -> Path:
    gone = {"variant": "far", "model": "tiny", "reason": "needs more", "sentence": "far: not here."}
    matrix = {"name": "m", "claims": [CLAIM, CLAIM | {"variant": "far"}]}
    run = write_run(folder, matrix=matrix, left_out=[gone])
    for quant, size in (("fp32", 800_000_000), ("int8", 400_000_000)):
        write_cell(run, "vllm", quant, Load(), rss_peak_bytes=size)
    return run


def test_the_markdown_table_can_be_pasted(tmp_path: Path) -> None:
    text = as_markdown(summarise(write(tmp_path / "run")))
    section = text[text.index(f"## {TITLE}") :].split("\n## ")[0].splitlines()
    assert "\n".join(section[2:6]) == TABLE
    told = [line for line in section if line.startswith("* ")]
    assert len(told) == 3
    assert told[0].endswith("where 0.50× is reported. a GPU there.")
    assert told[1].endswith("Not measured: far needs more. a GPU there.")
    assert told[2] == "* far: not here."


def test_page_and_terminal_say_the_same(tmp_path: Path) -> None:
    summary = summarise(write(tmp_path / "run"))
    for text in (as_page(summary), " ".join(table(summary).split())):
        assert "Reproduced: peak memory of vllm-int8 is 0.50× that of vllm-fp32" in text
        assert "far: not here." in text
    assert TITLE in as_page(summary)


def test_memory_and_time_are_drawn_together(tmp_path: Path) -> None:
    summary = summarise(write(tmp_path / "run"))
    found = memory_time(summary["cells"])
    assert found is not None
    assert "peak memory" in found.reading
    for text in ("800 MB", "400 MB", "time of an answer, s"):
        assert f">{text}</text>" in found.svg or f">{text}<" in found.svg
    assert found.svg in as_page(summary)
    loaded = {"memory_after_load_bytes": 300_000_000}
    after = memory_time([cell | {"footprint": loaded} for cell in summary["cells"]])
    assert after is not None
    assert "memory after load" in after.reading
    assert "300 MB" in after.svg


def test_memory_and_time_of_one_variant_are_not_drawn(tmp_path: Path) -> None:
    cells = summarise(write(tmp_path / "run"))["cells"]
    assert memory_time(cells[:1]) is None
    assert memory_time([]) is None
    assert memory_time([cells[0], cells[1] | {"model": "other"}]) is None


def test_left_out_variants_stand_in_a_run_without_claims(tmp_path: Path) -> None:
    summary = summarise(write(tmp_path / "run")) | {"claims": []}
    assert "## Left out\n\n* far: not here." in as_markdown(summary)
    assert "<h2>Left out</h2>" in as_page(summary)


def test_an_older_summary_has_no_such_section(tmp_path: Path) -> None:
    summary = summarise(write(tmp_path / "run"))
    del summary["claims"], summary["left_out"]
    for text in (as_markdown(summary), as_page(summary)):
        assert TITLE not in text
        assert "Left out" not in text
