"""Quality as a step of a run: once a variant, resumed, and never at the cost of a cell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from quantswarm.bench import cli
from quantswarm.bench.judge.summary import summarise
from quantswarm.bench.matrix import matrix_from
from quantswarm.bench.quality import kept
from quantswarm.bench.quality.asked import DEFAULT_TOKENS, Asked
from quantswarm.bench.report.columns import columns_for
from quantswarm.bench.report.flat import rows
from quantswarm.bench.report.grouped import rows_of
from quantswarm.bench.report.quality import change
from quantswarm.models.errors import BadFile, UnknownName

MATRIX = """
name = "step"
model = "tiny"
scenario = "smoke"
users = [1]
rounds = 2
warmup_s = 0
duration_s = 1
quality = {{ tokens = 512, text = "{text}" }}
[[variant]]
engine = "scripted"
quant = "none"
"""


def document(**more):
    variant = [{"engine": "scripted", "quant": "none"}]
    return {"model": "tiny", "scenario": "smoke", "users": 1, "variant": variant, **more}


def asked(**more):
    return matrix_from(document(**more), Path("m.toml")).quality


def test_the_key_of_a_matrix():
    assert asked() == Asked(tokens=DEFAULT_TOKENS)
    assert asked(model="synthetic/0.5b") is None
    assert asked(quality=False) is None
    assert asked(model="synthetic/0.5b", quality=True) == Asked()
    assert asked(quality={"tokens": 1024, "text": "a.txt"}) == Asked(
        tokens=1024, text=Path("a.txt")
    )
    for wrong in ("yes", {"tokens": 10}, {"tokens": 1024.0}, {"text": 3}):
        with pytest.raises(BadFile, match="quality"):
            asked(quality=wrong)
    with pytest.raises(UnknownName):
        asked(quality={"token": 1024})


def test_quality_leaves_a_matrix_its_digest():
    with_it, without = (matrix_from(document(quality=q), Path("m.toml")) for q in (True, False))
    assert with_it.digest() == without.digest()


def test_files_are_named_by_variant_and_by_model_where_it_is_another():
    assert kept.stem("vllm-fp8-kv", "tiny", "tiny") == "vllm-fp8-kv"
    assert kept.stem("vllm-bf16", "org/model", "tiny") == "vllm-bf16-org_model"


def bench(folder: Path, capsys, *more: str):
    words = ["bench", "--matrix", str(folder / "step.toml"), "--out", str(folder / "run"), "--json"]
    code = cli.main([*words, *more])
    return code, json.loads(capsys.readouterr().out)


def test_a_run_measures_it_once_and_resumes_what_is_missing(tmp_path, capsys):
    (tmp_path / "step.toml").write_text(MATRIX.format(text="words.txt"), encoding="utf-8")
    code, summary = bench(tmp_path, capsys, "--no-quality")
    assert (code, summary["quality"]) == (0, {})
    code, summary = bench(tmp_path, capsys, "--resume")
    assert code == 0, "a text that is missing is no failed cell"
    found = summary["quality"]["scripted-none"]
    assert found["perplexity"] is None
    assert [one["name"] for one in found["warnings"]] == ["quality-failed"]
    assert all(
        "quality-failed" in {one["name"] for one in cell["warnings"]} for cell in summary["cells"]
    )
    assert all(row["quality"] is None for row in rows_of(summary))

    (tmp_path / "words.txt").write_text("nine words of a text that is there\n" * 99)
    begun = [cell.stat().st_mtime_ns for cell in manifests(tmp_path)]
    code, summary = bench(tmp_path, capsys, "--resume")
    assert code == 0
    assert [cell.stat().st_mtime_ns for cell in manifests(tmp_path)] == begun
    found = summary["quality"]["scripted-none"]
    assert found["tokens"] == 510
    assert found["variant"] == "scripted-none"
    saved = np.load(tmp_path / "run" / "quality" / "scripted-none.npz")
    assert saved["nll"].mean() == pytest.approx(found["nll_mean"])
    assert len(saved["top1"]) == 510

    (tmp_path / "words.txt").unlink()
    document_file = tmp_path / "run" / "quality" / "scripted-none.json"
    before = document_file.stat().st_mtime_ns
    bench(tmp_path, capsys, "--resume")
    assert document_file.stat().st_mtime_ns == before, "what is there is not measured again"
    check_report(summarise(tmp_path / "run"), tmp_path / "run")


def manifests(folder: Path) -> list[Path]:
    return sorted((folder / "run" / "cells").glob("*/manifest.json"))


def check_report(summary, run: Path) -> None:
    (row,) = rows_of(summary)
    assert row["quality"]["tokens"] == 510
    heads = [column.head for column in columns_for([row])]
    assert "perplexity" in heads
    assert "Δ perplexity" in heads
    flat = rows(summary)
    assert len(flat) == 2
    assert {one["perplexity"] for one in flat} == {row["quality"]["perplexity"]}
    assert {one["quality_tokens"] for one in flat} == {510}
    assert "perplexity" in (run / "report.html").read_text(encoding="utf-8")
    assert "| perplexity (tokens) |" in (run / "report.md").read_text(encoding="utf-8")


def test_a_change_is_shown_in_per_cent_with_its_interval():
    found = {"perplexity_ratio": 1.05, "delta_nll": 0.04879, "delta_nll_ci": [-0.001, 0.1]}
    assert change(found) == "+5.00% (-0.10 to +10.5)"
    none = {"perplexity_ratio": 1.0, "delta_nll": 0.0, "delta_nll_ci": [0.0, 0.0]}
    assert change(none) == "0.00% (0.00 to 0.00)"
    assert change({}) == "n/a"
