"""The real server: what it was mended for, in each of its ways to generate."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from quantswarm.engines.base import ServeSpec
from quantswarm.engines.prepare import Prepared, ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.engines.server import Server, running
from quantswarm.engines.transformers_serve.facts import loaded
from quantswarm.models import source, store
from quantswarm.models.recipes import recipe_named

pytestmark = pytest.mark.engines
ENGINE = engine_named("transformers")
PROMPT = "def main():\n"


@dataclass(frozen=True)
class Up:
    """A running server."""

    server: Server
    spec: ServeSpec

    @property
    def log(self) -> str:
        return self.server.log.read_text()

    def ask(self, path="completions", **fields):
        """(status, body) of one request."""
        fields.setdefault("model", self.server.served_name)
        if path == "completions":
            fields.setdefault("prompt", PROMPT)
        request = urllib.request.Request(
            f"{self.server.base_url}/{path}",
            data=json.dumps(fields).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def whole(self, tokens, **fields) -> dict[str, Any]:
        asked = {"max_tokens": tokens, "temperature": 0, "ignore_eos": True, **fields}
        status, body = self.ask(**asked)
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def stream(self, tokens, **fields) -> list[str]:
        """The events' data."""
        own = ENGINE.pinned_fields(tokens)
        _, body = self.ask(max_tokens=tokens, temperature=0, stream=True, **own, **fields)
        return [line.removeprefix("data: ") for line in body.splitlines() if line]


def artefact(folder, quant):
    return replace(store.planned("tiny", recipe_named(quant)), path=folder, quant=quant)


def ready(folder, quant, **own) -> Prepared:
    found = ENGINE.probe()
    if not found.available:
        pytest.skip(f"missing: transformers ({found.reason})")
    options = ServeOptions(port=0, users=3, context_tokens=128, engine_options=own)
    recipe = recipe_named(quant)
    return prepare(ENGINE, recipe, artefact(folder, quant), options, found=found)


@contextmanager
def serving(folder, quant, log, **own) -> Iterator[Up]:
    made = ready(folder, quant, **own)
    with running(ENGINE, artefact(folder, quant), made.spec, made.flags, log=log) as server:
        yield Up(server=server, spec=made.spec)


@pytest.fixture(scope="module")
def batched(tmp_path_factory) -> Iterator[Up]:
    log = tmp_path_factory.mktemp("batched") / "log"
    with serving(source.tiny_folder(), "fp32", log, continuous_batching="on") as up:
        yield up


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Iterator[Up]:
    log = tmp_path_factory.mktemp("alone") / "log"
    with serving(source.tiny_folder(), "int8-dynamic", log) as up:
        yield up


@pytest.fixture(params=["alone", "batched"])
def up(request) -> Up:
    found: Up = request.getfixturevalue(request.param)
    return found


def test_streams_count_their_tokens_and_end_as_openais_do(up):
    events = up.stream(24)
    assert events[-1] == "[DONE]"
    chunks = [json.loads(one) for one in events[:-1]]
    counts = [one["usage"]["completion_tokens"] for one in chunks]
    assert counts == sorted(counts)
    assert counts[-1] == 24
    assert len(set(counts)) > 12, "each event has its own count"
    text = "".join(one["choices"][0]["text"] for one in chunks)
    assert text == up.whole(24)["choices"][0]["text"]


def test_requests_together_are_those_alone(batched):
    prompts = [f"# {n}\ndef " for n in range(6)]
    alone = [batched.whole(16, prompt=one)["choices"][0]["text"] for one in prompts]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda one: batched.whole(16, prompt=one), prompts))
    assert [one["choices"][0]["text"] for one in together] == alone
    assert all(one["usage"]["completion_tokens"] == 16 for one in together)
    assert ENGINE.served_with(batched.log)["kv_cache_tokens"] == 3 * 2 * 256


def test_a_batch_refuses_what_it_cannot_do_for_one_request(batched, alone):
    status, body = batched.ask(max_tokens=2, temperature=0.8)
    assert status == 400
    assert "continuous batching has one configuration" in json.loads(body)["error"]["message"]
    assert alone.ask(max_tokens=2, temperature=0.8)[0] == 200


def test_no_request_breaks_the_server(up):
    for fields in ({"foo": 1}, {"max_tokens": "8"}, {"prompt": [1, 10**9]}, {"prompt": ""}):
        status, body = up.ask(**fields)
        assert status == 400
        assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert up.ask("responses", input="a")[0] == 404
    assert up.ask("chat/completions", messages=[{"role": "user"}], max_tokens=2)[0] == 200
    assert up.whole(2)["usage"]["completion_tokens"] == 2


def test_libraries_say_what_the_server_says(alone, tmp_path):
    up = alone
    ids = list(range(20, 60))
    (rows,) = ENGINE.scored(up.server.command.argv, [ids], tmp_path / "child.log")
    asked = {"prompt": ids, "logprobs": 4, "echo": True, "return_tokens_as_token_ids": True}
    told = up.whole(1, **asked)["choices"][0]["logprobs"]
    assert [int(one.removeprefix("token_id:")) for one in told["tokens"]][:-1] == ids
    own = [rows[at, token] for at, token in enumerate(ids[1:])]
    assert np.abs(np.array(told["token_logprobs"][1:-1]) - own).max() < 1e-3
    assert all(len(top) == 4 for top in told["top_logprobs"][1:])
    assert ENGINE.kernels((tmp_path / "child.log").read_text()) == ENGINE.kernels(up.log)


def test_int8_of_the_embedded_model_shrinks_it(alone):
    assert ENGINE.remarks("int8-dynamic", alone.spec, alone.log) == ()
    assert "linear_dynamic" in ENGINE.kernels(alone.log)[0]


def test_int8_of_gpt2_does_not_shrink_it_and_says_so(gpt2, tmp_path):
    with serving(gpt2, "int8-dynamic", tmp_path / "log") as up:
        assert up.whole(8)["usage"]["completion_tokens"] == 8
        (found,) = ENGINE.remarks("int8-dynamic", up.spec, up.log)
    assert found[0] == "not-shrunk"
    assert "0.1 M weights became INT8" in found[2]
    assert "in Conv1D" in found[2]


def test_nf4_of_gpt2_takes_its_conv1d(gpt2, tmp_path):
    pytest.importorskip("bitsandbytes")
    argv = ready(gpt2, "bnb-nf4").command.argv
    (rows,) = ENGINE.scored(argv, [[5, 6, 7]], tmp_path / "log")
    assert np.allclose(np.exp(rows).sum(axis=-1), 1, atol=1e-4)
    log = (tmp_path / "log").read_text()
    assert "bitsandbytes::" in ENGINE.kernels(log)[0]
    assert loaded(log)["quantized"] == 2 * 12 * 64 * 64
    assert set(loaded(log)["left"]) == {"Embedding"}
