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
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from quantswarm.models import gguf_check, gguf_file, source, store
from quantswarm.models.artefact import Artefact, ModelSource
from quantswarm.models.recipes import recipe_named

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

    def start(artefact: Artefact) -> LlamaServer:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        argv = [tools() / "llama-server", "-m", artefact.path, "--host", "127.0.0.1"]
        argv += ["--port", str(port), "-np", "1", "-c", "512", "-t", "1", "-fit", "off"]
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


@pytest.mark.usefixtures("llama_home")
@pytest.mark.parametrize(
    ("quant", "bits"), [("q8_0", 8.5), ("q4_0", 4.5), ("q4_k_m", 5.0), ("q5_k_m", 5.8)]
)
def test_quantized_files_are_what_they_say(serve: Any, quant: str, bits: float) -> None:
    tiny = source.resolve("tiny")
    made = store.artefact(tiny, recipe_named(quant))
    assert gguf_file.read(made.path).quant == quant
    assert 8 * made.weights_bytes / tiny.parameters == pytest.approx(bits, rel=0.06)
    text = serve(made).ask("/completion", prompt="import ", n_predict=8, temperature=0)["content"]
    assert text


@pytest.mark.usefixtures("llama_home", "_micro_shape")
def test_a_synthetic_model_speaks_visible_ascii(serve: Any, micro: ModelSource) -> None:
    server = serve(store.artefact(micro, recipe_named("f16")))
    answer = server.ask("/completion", prompt="hello", n_predict=32, temperature=0)
    assert answer["tokens_predicted"] == 32
    assert answer["content"].isascii()
    assert answer["content"].isprintable()
    assert len(answer["content"].strip()) >= 32
