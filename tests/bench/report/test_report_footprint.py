"""Footprints in reports: tables, the sentence on what stays unquantized, plots, flat columns."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import made_run
import pytest
from made_run import Load

from quantswarm.bench.judge.summary import summarise
from quantswarm.bench.report import footprint, phases
from quantswarm.bench.report.flat import as_csv
from quantswarm.bench.report.footprint_plots import footprint_plots
from quantswarm.bench.report.markdown import as_markdown
from quantswarm.bench.report.page import as_page
from quantswarm.bench.report.terminal import table

FAST, SLOW = Load(users=1, itl_ms=5.0, window_s=10), Load(users=1, itl_ms=10.0, window_s=10)


@pytest.fixture
def small(tmp_path: Path) -> dict[str, Any]:
    """bf16 as the baseline, int8 at twice its speed of decoding in half of its memory."""
    run = made_run.write_run(tmp_path / "run", matrix={"name": "m", "baseline": "vllm-bf16"})
    made_run.write_cell(run, "vllm", "bf16", SLOW, footprint=made_run.footprint("bf16"))
    half = made_run.footprint("int8", memory_after_load_bytes=175_000_000)
    made_run.write_cell(run, "vllm", "int8", FAST, footprint=half)
    return summarise(run)


def test_what_stays_unquantized_is_told_with_its_bytes(small: dict[str, Any]) -> None:
    (told,) = footprint.sentences(small)
    assert told.startswith("vllm-int8: of 8.48 MB, 2.10 MB (24.7%) are embeddings and LM head in")
    assert "bfloat16 that int8 leaves as they are" in told
    assert "Its linear layers take 50.6% of what" in told
    assert "all weights together 57.8%." in told
    assert told in " ".join(table(small).split())


def changed_parts(summary: dict[str, Any], quant: str, **changes: Any) -> dict[str, Any]:
    cells = []
    for cell in summary["cells"]:
        parts = [dict(part) | changes for part in cell["footprint"]["weight_parts"]]
        cells.append(
            cell | {"quant": quant, "footprint": cell["footprint"] | {"weight_parts": parts}}
        )
    return summary | {"cells": cells[:1]}


def test_what_is_done_while_loading_is_not_taken_for_a_small_file(small: dict[str, Any]) -> None:
    (told,) = footprint.sentences(changed_parts(small, "bnb-int8"))
    assert "its weights lie on disk in bf16, bfloat16" in told
    assert "when they are loaded" in told
    for plain in ("bf16", "fp32", "bf16-gguf", "f16"):
        assert footprint.sentences(changed_parts(small, plain)) == []


def test_parts_as_loaded_stand_for_a_quantization_that_is_on_no_disk(small: dict[str, Any]) -> None:
    whole, int8 = (cell["footprint"] for cell in small["cells"])
    found = whole | {"loaded_parts": int8["weight_parts"]}
    summary = small | {"cells": [small["cells"][0] | {"quant": "bnb-int8", "footprint": found}]}
    (told,) = footprint.sentences(summary)
    assert told.startswith("vllm-bnb-int8, as loaded: of 8.48 MB, 2.10 MB")
    assert footprint.tables(summary)[1].rows[0][:2] == [
        "vllm-bnb-int8, as loaded",
        "6.37 MB int8 (8.10)",
    ]
    assert "as loaded" in footprint_plots(summary)[0].svg


def test_tied_embeddings_are_shown_in_both_roles_and_counted_once(small: dict[str, Any]) -> None:
    cells = small["cells"]
    found = cells[1]["footprint"]
    parts = [
        part | {"tied": part["part"] == "embeddings"}
        for part in found["weight_parts"]
        if part["part"] != "lm_head"
    ]
    tied = cells[1] | {"footprint": found | {"weight_parts": parts}}
    summary = small | {"cells": [tied]}
    parts_table = footprint.tables(summary)[1]
    row = dict(zip(parts_table.head, parts_table.rows[0], strict=True))
    assert row["LM head"] == "the embeddings (tied)"
    assert row["embeddings"] == "1.05 MB bfloat16 (16.0)"
    (told,) = footprint.sentences(summary)
    assert "1.05 MB (14.1%) are embeddings, which are the LM head too, in" in told


def test_prefill_and_decode_stand_beside_the_baseline(small: dict[str, Any]) -> None:
    (found,) = phases.tables(small)
    assert found.title == "At 1 user, against vllm-bf16"
    rows = {row[0]: row for row in found.rows}
    decode, saved = found.head.index("decode (tok/s)"), found.head.index("saved")
    assert rows["vllm-int8"][decode : decode + 2] == ["200", "2.00×"]
    assert rows["vllm-int8"][saved] == "50%"
    assert rows["vllm-bf16"][saved] == "0%"


def test_memory_on_gpus_counts_where_both_hold_some(small: dict[str, Any]) -> None:
    cells = [
        cell | {"footprint": cell["footprint"] | {"gpu_after_load_bytes": size}}
        for cell, size in zip(small["cells"], (4_000_000_000, 1_000_000_000), strict=True)
    ]
    found = {one.name: one for one in footprint.taken(small | {"cells": cells})}
    assert phases.saved(found["vllm-int8"], found["vllm-bf16"]) == 0.75
    assert phases.saved(found["vllm-int8"], None) is None
    assert "GPU after load" in footprint.tables(small | {"cells": cells})[0].head
    assert "GPU after load" not in footprint.tables(small)[0].head


def test_both_plots_are_drawn_with_their_numbers(small: dict[str, Any]) -> None:
    components, memory = footprint_plots(small)
    assert "8.48 MB" in components.svg
    assert "url(#footprint1-components" in components.svg  # the hatch of what stays as it is
    assert "175 MB, 0.205 s" in memory.svg
    assert "1 user" in memory.reading


def test_flat_columns_are_appended(small: dict[str, Any]) -> None:
    rows = {row["quant"]: row for row in csv.DictReader(io.StringIO(as_csv(small)))}
    assert rows["int8"]["memory_after_load_bytes"] == "175000000"
    assert rows["int8"]["lm_head_bytes"] == "1048576"
    assert float(rows["int8"]["phase_decode_tok_s"]) == pytest.approx(200)
    assert rows["int8"]["server_phase_prefill_tok_s"] == ""
    assert list(rows["int8"])[-1] == "server_phase_source"


def test_an_older_run_judged_again_has_phases_and_no_footprint(small: dict[str, Any]) -> None:
    cells = [cell | {"footprint": None} for cell in small["cells"]]
    (found,) = phases.tables(small | {"cells": cells})
    assert {row[0]: row[-2:] for row in found.rows} == {
        "vllm-bf16": ["n/a", "n/a"],
        "vllm-int8": ["n/a", "n/a"],
    }
    assert footprint.tables(small | {"cells": cells}) == []


def test_an_older_summary_has_neither_section(small: dict[str, Any]) -> None:
    cells = [
        {key: value for key, value in cell.items() if key not in ("footprint", "phases")}
        for cell in small["cells"]
    ]
    older = {key: value for key, value in small.items() if key != "baseline"} | {"cells": cells}
    for text in (as_markdown(older), as_page(older)):
        assert "Prefill and decode" not in text
        assert "What each variant takes" not in text
    assert phases.baseline_of(older | {"comparison": None, "decision": None}) is None
    assert dict(csv.DictReader(io.StringIO(as_csv(older))).__next__())["linear_bytes"] == ""
