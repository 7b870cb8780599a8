"""The command against the scripted server, whose perplexity is known in closed form."""

from __future__ import annotations

import json
import math

import pytest

from quantswarm.bench import cli
from quantswarm.bench.quality.asked import Asked
from quantswarm.bench.quality.corpus import corpus_of, text_for
from quantswarm.bench.quality.served import LARGEST_MEAN, remarks
from quantswarm.engines.scripted.vocabulary import perplexity
from quantswarm.models.errors import UserMistake


def closed_form(asked):
    corpus = corpus_of(text_for("tiny", asked.text), None, asked)
    scored = [token for window in corpus.windows for token in window[1:]]
    return len(scored), perplexity(scored)


def test_the_scripted_servers_perplexity_is_that_of_its_table(capsys):
    assert cli.main(["quality", "--engine", "scripted", "--tokens", "1024", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    tokens, truth = closed_form(Asked(tokens=1024))
    assert found["tokens"] == tokens == 1020
    assert found["perplexity"] == pytest.approx(truth, rel=1e-6)
    assert found["delta_nll"] == pytest.approx(0, abs=1e-7)
    bits = found["nll_mean"] / math.log(2) * tokens / found["corpus"]["scored_bytes"]
    assert found["bits_per_byte"] == pytest.approx(bits)
    assert found["kl_mean"] is None
    assert found["path"] == "endpoint"


def test_people_get_a_table_and_the_warnings(capsys, tmp_path):
    text = tmp_path / "own.txt"
    text.write_text("some words of a text of one's own\n" * 100, encoding="utf-8")
    words = ("quality", "--engine", "scripted", "--text", str(text), "--tokens", "512")
    assert cli.main(list(words)) == 0
    told = capsys.readouterr().out
    assert "own.txt" in told
    assert "few-tokens" in told
    assert f"{closed_form(Asked(tokens=512, text=text))[1]:.4f}" in told


def test_engines_that_cannot_are_refused_with_the_choices(capsys):
    words = ["quality", "--engine", "llamacpp-python", "--quant", "f16"]
    assert cli.main(words) == UserMistake.exit_code
    said = capsys.readouterr().err
    assert "llamacpp (in-process)" in said
    assert "vllm (endpoint)" in said
    assert "llamacpp-python (" not in said


def test_a_llama_server_at_a_url_is_refused_before_it_is_asked(capsys):
    words = ["quality", "--engine", "llamacpp", "--quant", "f16", "--url", "http://127.0.0.1:9/v1"]
    assert cli.main(words) == UserMistake.exit_code
    assert "leave --url out" in capsys.readouterr().err


def test_too_few_tokens_are_refused(capsys):
    assert cli.main(["quality", "--engine", "scripted", "--tokens", "100"]) == 2
    assert "512 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("apart", "own", "its", "names"),
    [
        (0.01, ("libggml-cpu-zen4.so", "AVX2"), ("libggml-cpu-zen4.so",), []),
        (0.01, ("libggml-cpu-zen4.so",), ("libggml-cpu-haswell.so",), ["other-kernels"]),
        (2 * LARGEST_MEAN, (), None, ["not-what-is-served"]),
        (float("nan"), (), (), ["not-what-is-served"]),
    ],
)
def test_what_speaks_against_the_libraries_numbers_is_named(apart, own, its, names):
    assert [one["name"] for one in remarks(apart, own, its)] == names
