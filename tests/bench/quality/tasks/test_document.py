"""The JSON of a task, its items in a file, and two variants against each other."""

from __future__ import annotations

import json

import pytest

from quantswarm.bench.quality.tasks.document import against, document, store, stored
from quantswarm.bench.quality.tasks.item import Outcome
from quantswarm.models.errors import BadFile, UserMistake


def made(rights, **more):
    found = [Outcome(id=f"i{at}", right=right, score=-1.5) for at, right in enumerate(rights)]
    return document("code-completion", "generated", found, **more)


def test_without_a_reference_nothing_is_said_of_one():
    found = made([True, True, False, True], seed=3)
    assert (found["items"], found["accuracy"], found["seed"]) == (4, 0.75, 3)
    low, high = found["accuracy_interval"]
    assert 0.3 < low < 0.75 < high < 0.96
    assert {found[key] for key in ("versus", "worse", "better", "p_value", "finding")} == {None}
    assert found["accuracy_by_length"] is None


def test_items_go_to_a_file_and_pair_with_the_next_variant(tmp_path):
    path = tmp_path / "quality" / "vllm-bf16-tasks.jsonl"
    (bare,) = store(path, [made([True] * 30)])
    assert "records" not in bare
    row = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert row == {
        "task": "code-completion",
        "id": "i0",
        "right": True,
        "score": -1.5,
        "right_by_length": None,
    }
    variant = made([False] * 8 + [True] * 22)
    (found,) = against([variant], stored(path), "vllm bf16")
    assert (found["versus"], found["worse"], found["better"]) == ("vllm bf16", 8, 0)
    assert found["p_value"] == pytest.approx(2 / 2**8)
    assert found["difference"] == pytest.approx(-8 / 30)
    assert found["difference_interval"][1] < 0
    assert 0 < found["smallest_detectable"] < 1
    assert found["finding"].startswith("worse, -26.7 points")


def test_a_reference_that_did_not_run_the_task_is_refused():
    with pytest.raises(UserMistake, match="not answer the same items"):
        against([made([True])], {"code-choice": {"i0": True}}, "other")


def test_no_items_is_no_accuracy():
    with pytest.raises(UserMistake, match="no items"):
        made([])


@pytest.mark.parametrize("text", ["{", '{"task": "a"}', "[]"])
def test_a_broken_file_of_a_reference_is_named(tmp_path, text):
    path = tmp_path / "broken.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadFile, match="broken"):
        stored(path)
    with pytest.raises(BadFile, match="gone"):
        stored(tmp_path / "gone.jsonl")
