"""Real engines: each path gives what float64 gives, and the embedded model's own perplexity."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from quantswarm.bench import cli
from quantswarm.bench.quality.asked import Asked
from quantswarm.bench.quality.corpus import Corpus, corpus_of, text_for
from quantswarm.bench.quality.run import Subject, measure
from quantswarm.bench.quality.served import told_by
from quantswarm.bench.quality.step import subject_of
from quantswarm.bench.selection import select
from quantswarm.engines.llamacpp_logits import settings
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.engines.server import running

ASKED = Asked(tokens=512)


def require(engine: str) -> None:
    found = engine_named(engine).probe()
    if not found.available:
        pytest.skip(f"missing: {engine} ({found.reason})")


def corpus_for(subject: Subject) -> Corpus:
    assert subject.artefact is not None
    return corpus_of(text_for(subject.model, None), subject.artefact.tokenizer, ASKED)


@contextmanager
def served(engine: str, quant: str, model: str, log) -> Iterator[Subject]:
    require(engine)
    chosen = select(engine, quant, model)
    options = ServeOptions(port=0, users=2, context_tokens=512, eager=True)
    ready = prepare(chosen.engine, chosen.recipe, chosen.artefact, options, found=chosen.found)
    with running(chosen.engine, chosen.artefact, ready.spec, ready.flags, log=log) as up:
        yield subject_of(chosen, ready, up, model=model)


def quality(capsys, engine: str, quant: str, *more: str) -> dict[str, Any]:
    require(engine)
    words = ["quality", "--engine", engine, "--quant", quant, "--eager", "--json", *more]
    assert cli.main(words) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.engines
def test_llamacpp_in_process_is_float64_and_what_the_server_says(two_layers, float64, tmp_path):
    with served("llamacpp", "f16", two_layers, tmp_path / "log") as subject:
        corpus = corpus_for(subject)
        assert subject.argv is not None
        rows = list(subject.engine.scored(subject.argv, corpus.windows, tmp_path / "child.log"))
        found = measure(subject, ASKED, lambda _text: None).document
    for one, window in zip(rows, corpus.windows, strict=True):
        assert np.abs(one - float64(two_layers, window)[:-1]).max() < 1e-3
    assert found["served_difference"] < 1e-3
    assert {one["name"] for one in found["warnings"]} == {"random-weights", "few-tokens"}
    assert "libggml-cpu" in " ".join(found["kernels"])


@pytest.mark.engines
def test_transformers_in_process_is_float64_and_what_the_server_says(two_layers, float64, tmp_path):
    with served("transformers", "fp32", two_layers, tmp_path / "log") as subject:
        corpus = corpus_for(subject)
        assert subject.argv is not None
        rows = list(subject.engine.scored(subject.argv, corpus.windows, tmp_path / "child.log"))
        found = measure(subject, ASKED, lambda _text: None).document
    for one, window in zip(rows, corpus.windows, strict=True):
        assert np.abs(one - float64(two_layers, window)[:-1]).max() < 1e-3
    assert found["served_difference"] < 1e-3
    assert found["kernels"] == ["aten::linear[float32]", "sdpa"]


@pytest.mark.engines
def test_vllm_by_its_endpoint_is_float64(two_layers, float64, tmp_path):
    with served("vllm", "fp32", two_layers, tmp_path / "log") as subject:
        corpus = corpus_for(subject)
        told = told_by(subject.endpoint, corpus, subject.engine.most_logprobs)
        found = measure(subject, ASKED, lambda _text: None).document
    for places, window in zip(told, corpus.windows, strict=True):
        exact = float64(two_layers, window)
        assert len(places) == len(window) - 1
        for at, values in places.items():
            ids = list(values)
            assert len(ids) >= subject.engine.most_logprobs
            assert np.abs(np.array(list(values.values())) - exact[at - 1, ids]).max() < 1e-3
    low, high = found["kl_interval"]
    assert low <= found["kl_mean"] <= high
    assert found["top1_agreement"] > 0.99


@pytest.mark.engines
def test_llamacpps_f16_has_the_perplexity_of_the_reference_and_four_bits_lose(capsys):
    full = quality(capsys, "llamacpp", "f16")
    assert full["perplexity_ratio"] == pytest.approx(1, abs=1e-3)
    assert full["top1_agreement"] > 0.99
    assert not full["warnings"]
    four = quality(capsys, "llamacpp", "q4_0")
    assert four["delta_nll_ci"][0] > 0
    assert four["kl_mean"] > 20 * full["kl_mean"]
    cache = quality(capsys, "llamacpp", "q4_0-kv")
    assert full["kl_mean"] < cache["kl_mean"], "the served cache is the one that is measured"


@pytest.mark.engines
def test_vllms_fp32_has_the_perplexity_of_the_reference(capsys):
    found = quality(capsys, "vllm", "fp32")
    assert found["perplexity_ratio"] == pytest.approx(1, abs=1e-3)
    assert found["top1_agreement"] > 0.999
    assert not found["warnings"]


@pytest.mark.engines
def test_onnxruntimes_fp32_has_the_perplexity_of_the_reference_and_four_bits_lose(capsys):
    full = quality(capsys, "onnxruntime", "onnx-fp32")
    assert full["perplexity_ratio"] == pytest.approx(1, abs=1e-4)
    assert full["served_difference"] < 1e-3
    assert full["top1_agreement"] > 0.999
    assert not full["warnings"]
    four = quality(capsys, "onnxruntime", "onnx-int4")
    assert four["delta_nll_ci"][0] > 0
    assert four["kl_mean"] > 20 * full["kl_mean"]


def test_settings_are_the_servers():
    argv = ["llama-server", "-m", "a.gguf", "-t", "2", "-tb", "3", "-ctk", "q8_0", "-ctv", "q4_0"]
    found = settings([*argv, "-fa", "on", "-ngl", "all"])
    assert (found.model, found.threads, found.threads_batch) == ("a.gguf", 2, 3)
    assert (found.type_k, found.type_v, found.flash_attn, found.gpu_layers) == (8, 2, 1, 999)
    plain = settings(argv[:5])
    assert (plain.type_k, plain.flash_attn, plain.gpu_layers, plain.threads_batch) == (1, -1, 0, 2)
