"""The harness as a child: its command, its refusals, its per-sample log; and the real one."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from quantswarm.bench.quality.tasks import lm_eval_run
from quantswarm.bench.quality.tasks.endpoint import outcomes_at
from quantswarm.bench.quality.tasks.generate import generated
from quantswarm.bench.quality.tasks.item import CHOICE, COMPLETION
from quantswarm.bench.quality.tasks.lm_eval_export import export
from quantswarm.bench.quality.tasks.lm_eval_run import Harness, Ready, argv, failure
from quantswarm.bench.quality.tasks.lm_eval_samples import by_filter, results_in
from quantswarm.bench.quality.tasks.run import NO_MORE, run_tasks
from quantswarm.bench.tool_environment import is_made
from quantswarm.bench.verify.asking import Asked
from quantswarm.models.errors import (
    NotAvailable,
    RunFailed,
    UnknownName,
    UnsupportedPair,
    UserMistake,
)

AT = Asked(base_url="http://127.0.0.1:8000/v1/", served_name="m", dialect="echo")


def how(tokenizer, **more):
    return Harness(tokenizer=tokenizer, items=25, seed=7, **more)


def test_the_command_asks_completions_with_ids(tmp_path):
    (tmp_path / "tokenizer.json").touch()
    plan = Ready(python=Path("/env/bin/python"), tasks=("arc_easy", "piqa"))
    words = argv(plan, AT, how(tmp_path / "tokenizer.json", include=tmp_path), tmp_path / "out")
    assert words[:4] == ("/env/bin/python", "-m", "lm_eval", "run")
    said = dict(zip(words[4::2], words[5::2], strict=False))
    model = json.loads(said["--model_args"])
    assert model["base_url"] == "http://127.0.0.1:8000/v1/completions"
    assert model["tokenizer"] == str(tmp_path)
    assert model["tokenized_requests"] is True
    assert said["--tasks"] == "arc_easy,piqa"
    assert (said["--limit"], said["--seed"]) == ("25", "7")
    assert words[-3:] == ("--log_samples", "--include_path", str(tmp_path))


def test_a_key_is_in_the_environment_and_in_no_argument(tmp_path):
    key = tmp_path / "key"
    key.write_text("secret-word\n", encoding="utf-8")
    asked = replace(AT, api_key_file=key)
    assert lm_eval_run.environment(asked)["OPENAI_API_KEY"] == "secret-word"
    plan = Ready(python=Path("p"), tasks=("a",))
    assert not any("secret-word" in one for one in argv(plan, asked, how(tmp_path), tmp_path))


def test_without_an_echo_only_tasks_that_generate_are_run():
    llama = replace(AT, dialect="llama")
    lm_eval_run.refuse_likelihood({"gsm8k": "generate_until"}, llama)
    lm_eval_run.refuse_likelihood({"arc_easy": "multiple_choice"}, AT)
    tasks = {"gsm8k": "generate_until", "arc_easy": "multiple_choice", "coded": None}
    with pytest.raises(UnsupportedPair, match="arc_easy, coded at") as told:
        lm_eval_run.refuse_likelihood(tasks, llama)
    assert "gsm8k at" not in str(told.value)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("requests.exceptions.ConnectionError: HTTPSConnectionPool", NotAvailable),
        ("datasets.exceptions.DatasetNotFoundError: Dataset 'x'", NotAvailable),
        ("ValueError: something else", RunFailed),
        ("Requesting API: 1%\naiohttp.ClientConnectionError: server gone", RunFailed),
    ],
)
def test_data_that_cannot_be_had_is_told_from_other_failures(tmp_path, words, kind):
    log = tmp_path / "log"
    log.write_text(f"start\n{words}\n", encoding="utf-8")
    found = failure(["piqa"], 1, log)
    assert type(found) is kind
    assert words.splitlines()[-1] in str(found)


def sample(at, target, scores, **more):
    return {
        "doc_id": at,
        "target": str(target),
        "filtered_resps": [[str(one), "False"] for one in scores],
        "filter": "none",
        "metrics": ["acc", "acc_norm"],
        "doc_hash": f"d{at}" * 8,
        "prompt_hash": f"p{at}" * 8,
        "target_hash": "t" * 16,
        **more,
    }


def test_samples_become_outcomes_in_the_order_of_documents():
    logs = [
        sample(1, 0, [-5.0, -4.0], acc=0.0, acc_norm=1.0),
        sample(0, 1, [-3.5, -2.0], acc=1.0, acc_norm=1.0),
    ]
    (told,) = by_filter("arc_easy", logs).values()
    assert [(one.right, one.right_by_length, one.score) for one in told] == [
        (True, True, 1.5),
        (False, True, -1.0),
    ]
    assert len({one.id for one in told}) == 2


def test_each_filter_of_answers_is_a_task():
    def answer(kind, right):
        more = {"filtered_resps": ["12"], "filter": kind, "metrics": ["exact_match"]}
        return sample(0, "12", [], exact_match=right, **more)

    found = by_filter("gsm8k", [answer("strict-match", 0.0), answer("flexible-extract", 1.0)])
    assert {name: some[0].right for name, some in found.items()} == {
        "gsm8k:strict-match": False,
        "gsm8k:flexible-extract": True,
    }
    assert {some[0].score for some in found.values()} == {None}


def test_a_metric_that_is_not_right_or_wrong_is_refused():
    some = [sample(0, 0, [-1.0, -2.0], metrics=["bleu"], bleu=31.5)]
    with pytest.raises(RunFailed, match="none of its metrics"):
        by_filter("wmt", some)


def test_results_that_are_not_there_are_named(tmp_path):
    with pytest.raises(RunFailed, match=r"0 files results_"):
        results_in(tmp_path)


def test_a_folder_of_tasks_that_is_not_there_is_a_mistake(tmp_path):
    with pytest.raises(UserMistake, match="no such folder"):
        lm_eval_run.expanded(Path(sys.executable), ["a"], tmp_path / "gone")


def test_an_interpreter_without_the_harness_says_so():
    with pytest.raises(RunFailed, match="cannot list them"):
        lm_eval_run.expanded(Path(sys.executable), ["arc_easy"], None)


@pytest.fixture
def harness():
    """The real one, where it has been installed; nothing is installed by a test."""
    if not is_made(lm_eval_run.NAME, lm_eval_run.WANTED, lm_eval_run.folder()):
        pytest.skip("missing: lm-evaluation-harness (quantswarm quality --tasks … installs it)")
    return lm_eval_run.folder()


@pytest.mark.engines
def test_the_harness_and_our_own_scoring_agree(
    harness, held_out, scripted, tokenizer, tmp_path, monkeypatch
):
    """Both on the same items at the same server, each its own way: from text, and from ids."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made = [generated(task, held_out, 25, 0) for task in (CHOICE, COMPLETION)]
    names = [export(items, tmp_path) for items in made]
    more = replace(NO_MORE, include=tmp_path)
    found = run_tasks(names, scripted, tokenizer, items=25, say=print, more=more)
    by_name = {one["task"]: one for one in found}
    choice = by_name["local-code-choice"]
    assert choice["kind"] == "lm-eval"
    assert choice["harness"] == "lm_eval 0.4.13"
    ours = outcomes_at(made[0], scripted)
    for own, theirs in zip(ours, choice["records"], strict=True):
        assert theirs["score"] == pytest.approx(own.score, abs=1e-6)
        if own.score != 0:  # of two that are level, the harness takes the first
            assert theirs["right"] == own.right
    assert by_name["local-code-completion"]["items"] == 25


@pytest.mark.engines
def test_names_and_data_that_are_not_there(harness, scripted, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnknownName, match="Did you mean arc_easy"):
        run_tasks(["arc_eazy"], scripted, tokenizer, items=2, say=print)
    with pytest.raises(NotAvailable, match="can neither be fetched nor found"):
        run_tasks(["arc_easy"], scripted, tokenizer, items=2, say=print)
