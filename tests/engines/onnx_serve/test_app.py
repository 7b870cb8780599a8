"""The HTTP side over a thread that answers from a list: routes, errors, streams, usage."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient
from tokenizers import Tokenizer

from quantswarm.engines.onnx_serve.app import Served, app
from quantswarm.engines.onnx_serve.counts import Counts
from quantswarm.engines.onnx_serve.jobs import Job, Scored, Step
from quantswarm.engines.onnx_serve.model import Loaded, overlay
from quantswarm.engines.onnx_serve.queueing import Waiting
from quantswarm.models.source import tiny_folder

TOKENIZER = Tokenizer.from_file(str(tiny_folder() / "tokenizer.json"))
TEXT = "naïve café 🦙 ok"
IDS = tuple(TOKENIZER.encode(TEXT).ids)
KEY = {"Authorization": "Bearer k"}
TEMPLATE = SimpleNamespace(apply_chat_template=lambda text, **_: json.loads(text)[0]["content"])


def answered(job: Job) -> None:
    """The ids of TEXT, as many as are asked for; "fail" as a prompt fails."""
    if job.ids == tuple(TOKENIZER.encode("fail").ids):
        job.tell(Step(reason="error", error="out of memory"))
        return
    for at, token in enumerate(IDS[: job.most_tokens], 1):
        told = Scored(token=token, logprob=-0.5, likeliest={token: -0.5})
        last = at in (len(IDS), job.most_tokens)
        scored = told if job.ask.logprobs is not None else None
        job.tell(Step(token=token, reason="length" if last else None, scored=scored))


@pytest.fixture
def client() -> Iterator[TestClient]:
    waiting = Waiting(4, 0.0)

    def generate() -> None:
        while batch := waiting.batch():
            for job in batch:
                answered(job)

    thread = threading.Thread(target=generate, daemon=True)
    thread.start()
    loaded = Loaded(
        genai=None,
        model=None,
        tokenizer=TOKENIZER,
        templates=TEMPLATE,
        ends=frozenset({0}),
        vocabulary=2048,
    )
    served = Served(loaded=loaded, name="m", context_tokens=64, key="k", alive=thread.is_alive)
    with TestClient(app(served, waiting, Counts(waiting.__len__)), headers=KEY) as made:
        yield made
    waiting.close()
    thread.join(30)


def asked(client: TestClient, **fields: Any) -> Any:
    return client.post("/v1/completions", json={"model": "m", "prompt": "a", **fields})


def events(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_whole_answer_counts_its_tokens(client: TestClient) -> None:
    told = asked(client, max_tokens=len(IDS)).json()
    assert told["choices"][0]["text"] == TEXT
    assert told["usage"]["completion_tokens"] == len(IDS)
    assert told["usage"]["total_tokens"] == len(IDS) + told["usage"]["prompt_tokens"]


def test_a_stream_is_the_same_text_an_event_a_token(client: TestClient) -> None:
    usage = {"include_usage": True, "continuous_usage_stats": True}
    found = events(asked(client, max_tokens=len(IDS), stream=True, stream_options=usage).text)
    pieces = [one["choices"][0]["text"] for one in found[:-1]]
    assert "".join(pieces) == TEXT
    assert len(pieces) == len(IDS)
    counts = [one["usage"]["completion_tokens"] for one in found]
    assert counts == [*range(1, len(IDS) + 1), len(IDS)]
    assert found[-1]["choices"] == []
    assert [one["choices"][0]["finish_reason"] for one in found[:-1]][-1] == "length"


def test_a_stream_without_usage_has_none(client: TestClient) -> None:
    assert not any("usage" in one for one in events(asked(client, stream=True).text))


def test_a_chat_says_its_role_once(client: TestClient) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    whole = client.post("/v1/chat/completions", json=body).json()
    assert whole["choices"][0]["message"]["role"] == "assistant"
    found = events(client.post("/v1/chat/completions", json={**body, "stream": True}).text)
    roles = [one["choices"][0]["delta"].get("role") for one in found]
    assert roles == ["assistant", None, None, None]
    text = "".join(one["choices"][0]["delta"]["content"] for one in found)
    assert text == whole["choices"][0]["message"]["content"]


def test_a_stop_string_ends_the_answer(client: TestClient) -> None:
    told = asked(client, max_tokens=len(IDS), stop=["café"]).json()
    assert told["choices"][0]["text"] == "naïve "
    assert told["choices"][0]["finish_reason"] == "stop"


def test_logprobs_of_completions_by_id(client: TestClient) -> None:
    told = asked(client, max_tokens=2, logprobs=1, return_tokens_as_token_ids=True).json()
    scored = told["choices"][0]["logprobs"]
    assert scored["tokens"] == [f"token_id:{token}" for token in IDS[:2]]
    assert scored["token_logprobs"] == [-0.5, -0.5]


def test_a_failure_is_an_error_in_either_form(client: TestClient) -> None:
    whole = asked(client, prompt="fail")
    assert (whole.status_code, whole.json()["error"]["message"]) == (500, "out of memory")
    streamed = events(asked(client, prompt="fail", stream=True).text)
    assert streamed[-1]["error"]["type"] == "server_error"


def test_a_prompt_beyond_the_context_is_refused_with_figures(client: TestClient) -> None:
    told = asked(client, prompt=[5] * 60, max_tokens=5)
    assert told.status_code == 400
    assert told.json()["error"]["code"] == "context_length_exceeded"
    for figure in ("64", "65", "60"):
        assert figure in told.json()["error"]["message"]


@pytest.mark.parametrize("prompt", ["", [2048], [-1]])
def test_prompts_that_the_model_cannot_read(client: TestClient, prompt: Any) -> None:
    assert asked(client, prompt=prompt).status_code == 400


@pytest.mark.parametrize("path", ["/v1/models", "/v1/completions", "/v1/chat/completions"])
def test_without_the_key_nothing_is_told(client: TestClient, path: str) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    told = (
        client.get(path, headers=wrong)
        if path.endswith("models")
        else client.post(path, headers=wrong, json={})
    )
    assert (told.status_code, told.json()["error"]["code"]) == (401, "invalid_api_key")


def test_other_paths_and_methods_are_errors_of_openais_form(client: TestClient) -> None:
    assert client.get("/v1/other").json()["error"]["type"] == "not_found_error"
    assert client.get("/v1/completions").status_code == 405


def test_health_and_metrics_need_no_key(client: TestClient) -> None:
    client.headers.pop("Authorization")
    assert client.get("/health").status_code == 200
    assert "num_requests_waiting 0" in client.get("/metrics").text


def test_each_thread_of_the_pool_has_a_core_but_the_callers() -> None:
    def bound(threads: int, cores: tuple[int, ...]) -> Any:
        session = overlay(threads, cores)["model"]["decoder"]["session_options"]
        assert session["intra_op_num_threads"] == threads
        return session.get("session.intra_op_thread_affinities")

    assert bound(3, (0, 2, 4)) == "3;5"
    assert bound(1, (0,)) is None
    assert bound(4, (0, 1)) is None
