"""Tasks asked through the command, and paired."""

from __future__ import annotations

import json

import numpy as np
import pytest

from quantswarm.bench import cli
from quantswarm.bench.quality.tasks.beside import rows
from quantswarm.bench.quality.tasks.in_process import tail
from quantswarm.models.errors import UserMistake


def test_a_tail_is_read_from_the_rows_before_its_tokens():
    likelihoods = np.log(
        np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.2, 0.2, 0.6], [0.9, 0.05, 0.05]])
    )
    found = tail(likelihoods, context=(0, 1), option=(2, 2))
    assert found.logprobs == pytest.approx((np.log(0.3), np.log(0.6)))
    assert found.likeliest == (False, True)


def test_people_read_what_is_missing_for_a_pairing():
    one = {"task": "t", "items": 1000, "accuracy": 0.5, "accuracy_interval": None, "finding": None}
    ((task, items, accuracy, said),) = rows([one])
    assert (task, items) == ("t", "1,000")
    assert accuracy == "50.0% (0.0% to 100.0%)"
    assert "--versus" in said


def test_a_model_without_a_tokenizer_has_no_tasks(capsys):
    words = ["quality", "--engine", "scripted", "--tasks", "code-choice", "--tokens", "512"]
    assert cli.main(words) == UserMistake.exit_code
    assert "tokenizer" in capsys.readouterr().err


def test_a_baseline_that_cannot_be_read_is_told_before_anything_is_asked(capsys, tmp_path):
    missing = tmp_path / "none.jsonl"
    words = ["quality", "--engine", "scripted", "--tasks", "code-choice", "--versus", str(missing)]
    assert cli.main(words) == UserMistake.exit_code
    assert "none.jsonl" in capsys.readouterr().err


@pytest.mark.engines
def test_llama_cpp_is_paired_with_the_original_and_with_a_baseline(capsys, tmp_path):
    def measured(quant, *more):
        words = ["quality", "--engine", "llamacpp", "--quant", quant, "--tokens", "512", "--json"]
        assert cli.main([*words, "--tasks", "generated", "--items", "30", *more]) == 0
        return json.loads(capsys.readouterr().out)["tasks"]

    answers = tmp_path / "f16.jsonl"
    for one in measured("f16", "--versus", "original", "--answers", str(answers)):
        assert (one["items"], one["versus"]) == (30, "original")
        assert one["worse"] + one["better"] <= 1
    assert len(answers.read_text().splitlines()) == 60
    for one in measured("q2_k", "--versus", str(answers)):
        assert one["versus"] == str(answers)
        assert one["worse"] + one["better"] > 0
