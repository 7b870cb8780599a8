"""The real library on `tiny`: batches, clients that go away, signals, seeds, and scores."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantswarm.bench.verify.answers import DIALECTS
from quantswarm.engines.metrics_text import picked
from quantswarm.engines.onnxruntime import ENGINE
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.server import Server, running
from quantswarm.models import source, store, weight_parts
from quantswarm.models.recipes import recipe_named

pytestmark = pytest.mark.engines
PROMPTS = ("def main():\n", "import os\nimport sys\n\n\ndef f(x):\n", "class A:\n", "# the last\n")


@contextmanager
def serving(log: Path, quant: str = "onnx-fp32", users: int = 4) -> Iterator[Server]:
    found = ENGINE.probe()
    if not found.available:
        pytest.skip(f"missing: onnxruntime ({found.reason})")
    recipe = recipe_named(quant)
    artefact = store.artefact(source.resolve("tiny"), recipe)
    options = ServeOptions(port=0, users=users, context_tokens=1024)
    prepared = prepare(ENGINE, recipe, artefact, options)
    with running(ENGINE, artefact, prepared.spec, prepared.flags, log=log) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("onnx") / "log") as found:
        yield found


def opened(server: Server, **fields: Any) -> http.client.HTTPResponse:
    host, _, port = server.root_url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    body = {"model": server.served_name, "temperature": 0, "ignore_eos": True, **fields}
    connection.request("POST", "/v1/completions", json.dumps(body))
    return connection.getresponse()


def told(server: Server, **fields: Any) -> dict[str, Any]:
    answer = opened(server, **fields)
    assert answer.status == 200
    found: dict[str, Any] = json.loads(answer.read())
    return found


def gauge(server: Server, name: str) -> float:
    host, _, port = server.root_url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.request("GET", "/metrics")
    return float(picked(connection.getresponse().read().decode(), ENGINE.gauges)[name])


def test_rows_of_a_batch_are_what_each_is_alone(server: Server) -> None:
    def text(prompt: str) -> str:
        choice = told(server, prompt=prompt, max_tokens=48)["choices"][0]
        assert choice["finish_reason"] == "length"
        return str(choice["text"])

    alone = [text(prompt) for prompt in PROMPTS]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(text, PROMPTS)) == alone


def test_a_client_that_goes_away_frees_its_place(server: Server, until: Callable[..., Any]) -> None:
    before = gauge(server, "generation_tokens")
    stream = opened(server, prompt=PROMPTS[0], max_tokens=1000, stream=True)
    stream.read(10)
    assert gauge(server, "running") == 1
    stream.close()
    until(lambda: gauge(server, "running") == 0, "its row has ended")
    assert gauge(server, "generation_tokens") - before < 1000
    assert told(server, prompt=PROMPTS[0], max_tokens=2)["usage"]["completion_tokens"] == 2


def test_scores_in_process_are_those_of_the_endpoint(server: Server, tmp_path: Path) -> None:
    dialect = DIALECTS["echo"]
    ids = tuple(range(40, 72))
    (rows,) = ENGINE.scored(server.command.argv, [ids], tmp_path / "log")
    assert np.abs(np.exp(rows).sum(axis=1) - 1).max() < 1e-4
    found = dialect.read(ids, told(server, **dialect.body(ids, 0, 5)))
    assert sorted(found.scored) == list(range(1, len(ids)))
    for at, values in found.scored.items():
        expected = rows[at - 1]
        assert {*np.argsort(-expected)[:5].tolist()} <= {*values}
        assert np.abs(expected[[*values]] - [*values.values()]).max() < 1e-3


def test_a_drawn_answer_is_the_same_for_the_same_seed(server: Server) -> None:
    drawn = {"prompt": PROMPTS[0], "max_tokens": 24, "temperature": 1.0}
    first, again, other = (
        told(server, **drawn, seed=seed)["choices"][0]["text"] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_signal_ends_live_streams_soon(tmp_path: Path, until: Callable[..., Any]) -> None:
    with serving(tmp_path / "log", "onnx-int4", users=2) as own:
        streams = [
            opened(own, prompt=prompt, max_tokens=1000, stream=True) for prompt in PROMPTS[:2]
        ]
        streams[0].read(10)
        os.kill(own.pid, signal.SIGTERM)
        until(lambda: not own.alive(), "the server has ended", 8)
        rest = streams[0].read().decode()
        assert '"finish_reason": "length"' not in rest, "a cut answer is not told as a whole one"
        assert ENGINE.served_with(own.log.read_text())["kernel"].startswith("onnxruntime:MatMulN")


@pytest.mark.parametrize(("quant", "kind"), [("onnx-int8", "int8"), ("onnx-int4", "int4")])
def test_layers_and_head_are_quantized_and_embeddings_are_not(quant: str, kind: str) -> None:
    made = store.artefact(source.resolve("tiny"), recipe_named(quant))
    found = weight_parts.of_artefact(made)
    kinds = {(part.component, part.kind) for part in found.parts if part.parameters}
    assert kinds >= {("layers", kind), ("head", kind), ("embeddings", "float32")}
    assert ("layers", "float32") not in kinds
    original = weight_parts.of_artefact(
        store.artefact(source.resolve("tiny"), recipe_named("fp32"))
    )
    assert found.multiplied("layers") == original.multiplied("layers")
    assert found.kv_elements == original.kv_elements
    assert 0 < made.weights_bytes - found.stored_bytes < 2**20
