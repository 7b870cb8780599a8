"""Converted files against the real llama.cpp: same token ids, same logits as transformers."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import time
import unicodedata
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from quantswarm.engines import llamacpp_kv
from quantswarm.models import gguf_check, gguf_file, gguf_vocabulary, source, store
from quantswarm.models.artefact import Artefact, ModelSource
from quantswarm.models.recipes import recipe_named, recipes

pytestmark = pytest.mark.engines

START_DEADLINE_S = 120
USERS_HOME = store.home()
"""Taken at import, before a fixture gives each test a home of its own."""


def tools() -> Path:
    """Where llama.cpp's programs are: set-up builds them under the user's own home."""
    found = os.environ.get("LLAMA_SERVER_BIN") or shutil.which("llama-server")
    if found:
        return Path(found).parent
    folder = USERS_HOME / "llama.cpp" / "current" / "bin"
    if not (folder / "llama-server").is_file():
        pytest.skip("llama-server is not here: make setup builds it")
    return folder


@pytest.fixture
def llama_home(quantswarm_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own home, with the real quantizer."""
    monkeypatch.setenv("LLAMA_QUANTIZE_BIN", str(tools() / "llama-quantize"))
    return quantswarm_home


class LlamaServer:
    """The part of llama-server's own interface that the comparisons need."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, **body: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def ids(self, text: str) -> list[int]:
        found: list[int] = self.ask(
            "/tokenize", content=text, add_special=False, parse_special=True
        )["tokens"]
        return found


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    started: list[subprocess.Popen[bytes]] = []

    def start(artefact: Artefact, *more: str) -> LlamaServer:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        argv = [tools() / "llama-server", "-m", artefact.path, "--host", "127.0.0.1"]
        argv += ["--port", str(port), "-np", "1", "-c", "512", "-t", "1", "-fit", "off", *more]
        log = (tmp_path / "server.log").open("wb")
        process = subprocess.Popen(
            [str(part) for part in argv], stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        started.append(process)
        server = LlamaServer(port)
        until = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < until:
            assert process.poll() is None, (tmp_path / "server.log").read_text()[-2000:]
            try:
                server.ask("/health")
                return server
            except (urllib.error.URLError, ConnectionError):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.05)  # asks again soon, and sees its death at once
        raise AssertionError((tmp_path / "server.log").read_text()[-2000:])

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


TEXTS = (
    *gguf_check.SAMPLES,
    *(chr(first) + chr(first + 1) + " " + chr(first) for first in range(32, 0x2000, 97)),
    "  x\n   y\n\t z ",
    "can't won't I'D WE'LL",
    "<|user|>\nWhat?<|end|>\n<|assistant|>\n",
)


@pytest.mark.usefixtures("llama_home", "_micro_shape")
@pytest.mark.parametrize("name", ["tiny", "synthetic/micro"])
def test_token_ids_agree(serve: Any, name: str, tiny_folder: Path) -> None:
    model = source.resolve(name)
    tokenizer = Tokenizer.from_file(str(model.tokenizer))
    server = serve(store.artefact(model, recipe_named("f16")))
    code = [line for line in (tiny_folder / "held_out.txt").read_text().splitlines() if line]
    texts = [text for text in (*TEXTS, *code[:300]) if text]
    wrong = [
        text
        for text in texts
        if server.ids(text) != tokenizer.encode(text, add_special_tokens=False).ids
    ]
    assert len(texts) > 300
    assert not wrong


@pytest.mark.usefixtures("llama_home")
def test_f16_agrees_with_transformers_in_float32(serve: Any) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tiny = source.resolve("tiny")
    reference = transformers.AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=torch.float32)
    ids = Tokenizer.from_file(str(tiny.tokenizer)).encode("def read(self, size):\n    ").ids
    server = serve(store.artefact(tiny, recipe_named("f16")))
    for _ in range(12):
        with torch.no_grad():
            logits = reference(torch.tensor([ids])).logits[0, -1]
        expected = torch.log_softmax(logits, dim=-1)
        answer = server.ask(
            "/completion", prompt=ids, n_predict=1, temperature=0, n_probs=32, cache_prompt=False
        )
        (first,) = answer["completion_probabilities"]
        assert len(first["top_logprobs"]) == 32
        for found in first["top_logprobs"]:
            assert math.isclose(found["logprob"], float(expected[found["id"]]), abs_tol=0.02)
        best = first["top_logprobs"][0]["id"]
        if best != int(expected.argmax()):
            assert float(expected.max() - expected[best]) < 0.02, "only a near tie may differ"
        ids.append(int(expected.argmax()))


BITS = {
    "q8_0": 8.51, "q6_k": 6.58, "q5_1": 6.06, "q5_k_m": 5.72, "q5_0": 5.59, "q5_k_s": 5.59,
    "q4_1": 5.13, "q4_k_m": 4.92, "q4_0": 4.66, "q4_k_s": 4.71, "q3_k_l": 4.34, "q3_k_m": 4.03,
    "q3_k_s": 3.68, "q2_k": 3.18, "bf16-gguf": 16.01,
}  # fmt: skip
WITH_IMPORTANCE = {
    "iq4_nl": 4.66, "iq4_xs": 4.43, "iq3_s": 3.68, "iq3_xxs": 3.25, "iq2_s": 2.79, "iq2_xs": 2.60,
    "q3_k_m-im": 4.03, "q2_k-im": 3.18,
}  # fmt: skip


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all types: the F16 file and the importance matrix are made once."""
    return tmp_path_factory.mktemp("types")


def test_no_type_is_left_out() -> None:
    gguf = {recipe.name for recipe in recipes().values() if recipe.format == "gguf"}
    assert gguf == {*BITS, *WITH_IMPORTANCE, "f16", "q8_0-kv", "q4_0-kv"}


@pytest.mark.usefixtures("llama_home")
@pytest.mark.parametrize("quant", [*BITS, *WITH_IMPORTANCE])
def test_a_quantized_file_is_what_it_says(
    serve: Any, shared_home: Path, monkeypatch: pytest.MonkeyPatch, quant: str
) -> None:
    if quant in WITH_IMPORTANCE and not (tools() / "llama-imatrix").is_file():
        pytest.skip("llama-imatrix is not here: make setup builds it")
    monkeypatch.setenv("QUANTSWARM_HOME", str(shared_home))
    made = store.artefact(source.resolve("tiny"), recipe_named(quant))
    header = gguf_file.read(made.path)
    account = json.loads((made.path.parent / store.PROVENANCE).read_text())
    assert header.quant == account["type"] == quant.removesuffix("-im")
    assert account["bits_per_weight"] == pytest.approx((BITS | WITH_IMPORTANCE)[quant], abs=0.01)
    assert account["fallbacks"] == []
    assert (account["importance"] is not None) == (quant in WITH_IMPORTANCE)
    text = serve(made).ask("/completion", prompt="import ", n_predict=8, temperature=0)["content"]
    assert text


@pytest.mark.usefixtures("llama_home")
@pytest.mark.parametrize("quant", ["q8_0-kv", "q4_0-kv"])
def test_the_cache_has_the_type_that_was_asked_for(serve: Any, tmp_path: Path, quant: str) -> None:
    recipe = recipe_named(quant)
    made = store.artefact(source.resolve("tiny"), recipe)
    server = serve(made, *recipe.serve_flags["llamacpp"], "--log-verbosity", "4")
    text = server.ask("/completion", prompt="import ", n_predict=8, temperature=0)["content"]
    assert text
    found = llamacpp_kv.facts((tmp_path / "server.log").read_text())
    assert found == {"kv_cache_dtype": quant.removesuffix("-kv"), "kv_cache_tokens": 512}


@pytest.mark.usefixtures("llama_home", "_micro_shape")
def test_a_synthetic_model_speaks_visible_ascii(serve: Any, micro: ModelSource) -> None:
    server = serve(store.artefact(micro, recipe_named("f16")))
    answer = server.ask("/completion", prompt="hello", n_predict=32, temperature=0)
    assert answer["tokens_predicted"] == 32
    assert answer["content"].isascii()
    assert answer["content"].isprintable()
    assert len(answer["content"].strip()) >= 32


QWEN2_CUT, LLAMA3_CUT = gguf_vocabulary.PATTERNS
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 10_000.0, "factor": 4.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
}  # fmt: skip
SHAPE = {
    "vocab_size": 2048, "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip


def random_model(folder: Path, tiny_folder: Path, kind: str, *, tied: bool) -> Any:
    """A model of random weights (biases too) with `tiny`'s words, cut as models of its kind do."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    facts = {**SHAPE, "tie_word_embeddings": tied}
    if kind == "qwen2":
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**facts))
    else:
        config = transformers.LlamaConfig(**facts, rope_parameters=LLAMA3_ROPE)
        model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 2:
                value.normal_(0, 0.05)
            elif name.endswith("bias"):
                value.normal_(0, 1)
    model.save_pretrained(folder)
    tokenizer = json.loads((tiny_folder / "tokenizer.json").read_text())
    pattern = QWEN2_CUT if kind == "qwen2" else LLAMA3_CUT
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    parts = [{**split, "invert": False}, {**level, "use_regex": False}]
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": parts}
    tokenizer["normalizer"] = {"type": "NFC"} if kind == "qwen2" else None
    tokenizer["model"]["ignore_merges"] = kind != "qwen2"
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return model.float().eval()


@pytest.mark.usefixtures("llama_home")
@pytest.mark.parametrize(("kind", "tied"), [("qwen2", True), ("qwen2", False), ("llama3", True)])
def test_other_architectures_agree_with_transformers(
    serve: Any, tmp_path: Path, tiny_folder: Path, kind: str, tied: bool
) -> None:
    import torch

    reference = random_model(tmp_path / "model", tiny_folder, kind, tied=tied)
    model = source.resolve(str(tmp_path / "model"))
    made = store.artefact(model, recipe_named("f16"))
    assert gguf_file.read(made.path).values["tokenizer.ggml.pre"] == (
        "qwen2" if kind == "qwen2" else "llama-bpe"
    )
    server = serve(made)
    tokenizer = Tokenizer.from_file(str(model.tokenizer))
    code = [line for line in (tiny_folder / "held_out.txt").read_text().splitlines() if line]
    texts = [
        text for text in (*TEXTS, *code[:200]) if text and unicodedata.is_normalized("NFC", text)
    ]
    wrong = [
        text
        for text in texts
        if server.ids(text) != tokenizer.encode(text, add_special_tokens=False).ids
    ]
    assert not wrong
    ids = tokenizer.encode("\n".join(code[:40])).ids[:300]
    with torch.no_grad():
        expected = torch.log_softmax(reference(torch.tensor([ids])).logits[0, -1], dim=-1)
    answer = server.ask("/completion", prompt=ids, n_predict=1, temperature=0, n_probs=64)
    (first,) = answer["completion_probabilities"]
    assert len(first["top_logprobs"]) == 64
    for found in first["top_logprobs"]:
        assert math.isclose(found["logprob"], float(expected[found["id"]]), abs_tol=0.02)
