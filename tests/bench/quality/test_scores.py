"""Scores by hand: whole rows, told tokens, and the numbers made from them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantswarm.bench.quality.asked import Asked
from quantswarm.bench.quality.corpus import Corpus, Encoded, Text, corpus_of, text_for, token_ids
from quantswarm.bench.quality.document import document, numbers
from quantswarm.bench.quality.reference import LABEL, Reference, nll_of, reference_of
from quantswarm.bench.quality.scores import from_rows, from_told
from quantswarm.bench.report.quality import change
from quantswarm.models import source
from quantswarm.models.errors import BadFile, RunFailed

VOCABULARY = 50


def log_softmax(logits):
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


@pytest.fixture
def corpus():
    ids = tuple(int(one) for one in np.random.default_rng(0).integers(VOCABULARY, size=64))
    return Corpus(
        text=Text(name="made", content="x" * 200),
        encoded=Encoded(text="", ids=ids, sizes=(3,) * 64),
        windows=(ids[:32], ids[32:]),
        scored_bytes=62 * 3,
        asked_tokens=64,
    )


@pytest.fixture
def rows():
    return log_softmax(np.random.default_rng(1).normal(0, 2, (2, 31, VOCABULARY)))


@pytest.fixture
def reference(corpus, rows):
    return Reference(label=LABEL, nll=nll_of(rows, corpus), rows=rows)


def damaged(rows, by=0.5):
    return log_softmax(rows + np.random.default_rng(2).normal(0, by, rows.shape))


def told_of(rows, corpus, most):
    found = []
    for part, window in zip(rows, corpus.windows, strict=True):
        places = {}
        for at, row in enumerate(part, start=1):
            top = row.argsort()[::-1][:most]
            places[at] = {int(one): float(row[one]) for one in (*top, window[at])}
        found.append(places)
    return found


def test_the_reference_beside_itself_is_no_distance(corpus, rows, reference):
    found = numbers(from_rows(iter(rows), corpus, reference), corpus, reference)
    assert found["perplexity"] == pytest.approx(math.exp(reference.nll.mean()))
    assert found["bits_per_byte"] == pytest.approx(reference.nll.sum() / math.log(2) / 186)
    assert found["delta_nll_ci"] == [0.0, 0.0]
    assert (found["kl_mean"], found["top1_agreement"], found["tokens"]) == (0.0, 1.0, 62)
    assert (found["kl_interval"], found["covered_mass"]) == (None, None)


def test_told_tokens_give_the_same_perplexity_and_an_interval_around_the_same_kl(
    corpus, rows, reference
):
    served = damaged(rows)
    exact = numbers(from_rows(iter(served), corpus, reference), corpus, reference)
    cut = numbers(from_told(told_of(served, corpus, 20), corpus, reference), corpus, reference)
    for key in ("perplexity", "delta_nll", "top1_agreement"):
        assert cut[key] == pytest.approx(exact[key], rel=1e-5)
    low, high = cut["kl_interval"]
    assert low <= exact["kl_mean"] <= high
    assert low <= cut["kl_mean"] <= high
    assert 0.5 < cut["covered_mass"] < 1
    assert exact["perplexity_ratio"] == pytest.approx(math.exp(exact["delta_nll"]))


def test_without_a_reference_there_is_perplexity_alone(corpus, rows):
    found = numbers(from_rows(iter(rows), corpus, None), corpus, None)
    assert found["perplexity"] > 1
    assert found["delta_nll"] is found["kl_mean"] is found["reference"] is None
    whole = document({"engine": "e"}, found, corpus.document(), [])
    assert change(whole) == "n/a"


def test_another_vocabulary_and_a_missing_place_are_refused(corpus, rows, reference):
    with pytest.raises(RunFailed, match="vocabulary"):
        from_rows(iter(rows[:, :, :-1]), corpus, reference)
    told = told_of(rows, corpus, 3)
    del told[1][17]
    with pytest.raises(RunFailed, match="token 17 of 32"):
        from_told(told, corpus, reference)


def test_windows_follow_each_other_and_their_bytes_are_the_texts():
    text = text_for("tiny", None)
    corpus = corpus_of(text, source.tiny_folder(), Asked(tokens=1024))
    assert [len(window) for window in corpus.windows] == [256] * 4
    assert corpus.scored == 1020
    joined = tuple(one for window in corpus.windows for one in window)
    assert joined == corpus.encoded.ids[:1024]
    assert sum(corpus.encoded.sizes) == len(corpus.encoded.text.encode())
    assert corpus.encoded.lead == ()
    firsts = sum(corpus.encoded.sizes[at] for at in range(0, 1024, 256))
    assert corpus.scored_bytes == sum(corpus.encoded.sizes[:1024]) - firsts
    assert text.content.startswith(corpus.encoded.text)


def test_bytes_of_wide_characters_are_counted_whole():
    text = "naïve 🦙🦙 数学\n" * 40
    found = token_ids(text, source.tiny_folder())
    assert sum(found.sizes) == len(text.encode())


def test_a_text_without_a_window_or_without_utf8_is_refused(tmp_path):
    with pytest.raises(BadFile, match="a window has 256"):
        corpus_of(Text(name="short", content="a b c"), source.tiny_folder(), Asked())
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(BadFile, match="cannot be read"):
        text_for("tiny", tmp_path / "bytes")


def test_other_models_have_pythons_documentation():
    found = text_for("another", None)
    assert "pydoc" in found.name
    assert len(found.content) > 100_000


def test_the_reference_is_the_float64_computation_and_is_made_once(two_layers, float64):
    model = source.resolve(two_layers)
    asked = Asked(tokens=512, window=64)
    corpus = corpus_of(text_for("tiny", None), model.tokenizer, asked)
    said: list[str] = []
    made = reference_of(model, corpus, said.append)
    again = reference_of(model, corpus, said.append)
    assert len(said) == 1
    assert made.rows is not None
    assert again.rows is not None
    assert np.array_equal(made.rows, again.rows)
    for rows, window in zip(made.rows, corpus.windows, strict=True):
        assert np.abs(rows - float64(two_layers, window)[:-1]).max() < 1e-4
