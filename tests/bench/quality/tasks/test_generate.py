"""Items made from text: by seed, faithful to the tokenizer, and what they promise."""

from __future__ import annotations

import json

import pytest

from quantswarm.bench.quality.tasks import generate
from quantswarm.bench.quality.tasks.generate import GENERATED, generated
from quantswarm.bench.quality.tasks.item import CHOICE, COMPLETION
from quantswarm.bench.quality.tasks.lm_eval_export import export
from quantswarm.bench.quality.tasks.passages import passages
from quantswarm.models.errors import BadFile, UserMistake


@pytest.mark.parametrize("task", GENERATED)
def test_a_seed_gives_the_same_items_and_fewer_are_its_first(held_out, task):
    items = generated(task, held_out, 40, 0)
    assert generated(task, held_out, 40, 0) == items
    assert generated(task, held_out, 15, 0) == items[:15]
    others = {item.id for item in generated(task, held_out, 40, 1)}
    assert len(others & {item.id for item in items}) < 4


@pytest.mark.parametrize("task", GENERATED)
def test_text_and_ids_say_the_same_in_every_item(held_out, task):
    for item in generated(task, held_out, 30, 2):
        assert len(item.context.ids) == generate.CONTEXT_TOKENS
        assert not item.context.text[-1].isspace()
        for option in item.options:
            assert held_out.faithful(item.context, option)


def test_a_completion_stays_in_its_line_and_says_something(held_out):
    for item in generated(COMPLETION, held_out, 60, 0):
        (option,) = item.options
        assert len(option.ids) == generate.COMPLETION_TOKENS
        assert "\n" not in option.text
        assert any(map(str.isalnum, option.text))
        assert item.context.text + option.text in held_out.text


def test_a_choice_has_one_true_end_and_three_others_of_its_length(held_out):
    items = generated(CHOICE, held_out, 80, 0)
    for item in items:
        assert len({option.text for option in item.options}) == generate.OPTIONS
        assert {len(option.ids) for option in item.options} == {generate.CHOICE_TOKENS}
        assert all(option.text.startswith("\n") for option in item.options)
        assert item.context.text + item.options[item.answer].text in held_out.text
    places = [item.answer for item in items]
    assert all(places.count(at) > 8 for at in range(generate.OPTIONS))


@pytest.mark.parametrize("task", GENERATED)
def test_a_text_that_holds_too_few_is_refused(tokenizer, tmp_path, task):
    short = tmp_path / "short.txt"
    short.write_text("def one():\n    return 1\n" * 20, encoding="utf-8")
    with pytest.raises(UserMistake, match="found in a text of"):
        generated(task, passages(tokenizer, short), 50, 0)


def test_files_that_cannot_be_read_are_named(tokenizer, tmp_path):
    with pytest.raises(BadFile, match="gone"):
        passages(tokenizer, tmp_path / "gone.txt")
    with pytest.raises(BadFile, match=r"tokenizer\.json"):
        passages(tmp_path)


def test_items_exported_for_the_harness_keep_text_and_answer(held_out, tmp_path):
    items = generated(CHOICE, held_out, 5, 0)
    assert export(items, tmp_path) == "local-code-choice"
    task = json.loads((tmp_path / "code-choice.yaml").read_text(encoding="utf-8"))
    lines = (tmp_path / "code-choice.jsonl").read_text(encoding="utf-8").splitlines()
    assert task["dataset_kwargs"]["data_files"]["test"] == str(tmp_path / "code-choice.jsonl")
    for item, row in zip(items, map(json.loads, lines), strict=True):
        assert row["context"] == item.context.text
        assert row["options"][row["answer"]] == item.options[item.answer].text
    with pytest.raises(UserMistake, match="2 tasks at once"):
        export([*items, *generated(COMPLETION, held_out, 1, 0)], tmp_path)
