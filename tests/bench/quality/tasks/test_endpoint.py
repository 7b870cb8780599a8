"""Items asked of servers: an echo of known numbers, and one that only generates."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from quantswarm.bench.quality.tasks.endpoint import outcomes_at
from quantswarm.bench.quality.tasks.generate import generated
from quantswarm.bench.quality.tasks.item import CHOICE, COMPLETION, Piece, item_of
from quantswarm.bench.quality.tasks.run import NO_MORE, names_in, run_tasks
from quantswarm.bench.quality.tasks.scoring import Tail, outcome
from quantswarm.bench.verify.asking import Asked
from quantswarm.models.errors import RunFailed, UnsupportedPair


def table(ids):
    return -math.log(2) * sum(1 + one % 4 for one in ids)


def test_a_choice_is_scored_by_the_closed_form(held_out, scripted):
    items = generated(CHOICE, held_out, 40, 0)
    found = outcomes_at(items, scripted)
    assert [one.id for one in found] == [item.id for item in items]
    for item, told in zip(items, found, strict=True):
        scores = [table(option.ids) for option in item.options]
        others = [one for at, one in enumerate(scores) if at != item.answer]
        assert told.score is not None
        assert told.score == pytest.approx(scores[item.answer] - max(others), abs=1e-9)
        if abs(told.score) > 1e-9:
            assert told.right == (told.score > 0)
    assert 0 < sum(one.right for one in found) < len(found)


def test_a_completion_is_right_when_each_token_is_the_likeliest(held_out, scripted):
    items = generated(COMPLETION, held_out, 60, 0)
    found = outcomes_at(items, scripted)
    for item, told in zip(items, found, strict=True):
        (option,) = item.options
        assert told.score == pytest.approx(table(option.ids), abs=1e-9)
        assert told.right == all(one % 4 == 0 for one in option.ids)
        assert told.right_by_length is None
    assert any(one.right for one in found)


def test_a_tie_is_not_right_and_length_may_change_the_answer():
    context = Piece(text="x", ids=(1,))
    options = [Piece(text="aaaa", ids=(2,)), Piece(text="b", ids=(3,))]
    item = item_of(CHOICE, context, options, 0)
    tails = [Tail(logprobs=(-2.0,), likeliest=(False,)), Tail(logprobs=(-2.0,), likeliest=(True,))]
    assert not outcome(item, tails).right
    longer = [Tail(logprobs=(-2.4,), likeliest=(False,)), tails[1]]
    found = outcome(item, longer)
    assert (found.right, found.right_by_length) == (False, True)
    assert found.score == pytest.approx(-0.4)


@pytest.fixture
def generating(held_out):
    """A server in llama-server's form that goes on with the text itself where the first id of the
    prompt is even, else with other tokens; a bare function `begin` starts it."""
    whole = held_out.ids

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            ids, count = asked["prompt"], asked["n_predict"]
            made = [0] * count
            if ids[0] % 2 == 0:
                at = next(at for at in range(len(whole)) if list(whole[at : at + len(ids)]) == ids)
                made = list(whole[at + len(ids) : at + len(ids) + count])
            told = [{"id": one, "logprob": -1.0, "top_logprobs": []} for one in made]
            body = json.dumps({"tokens_evaluated": len(ids), "completion_probabilities": told})
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    yield Asked(base_url=url, served_name="stub", dialect="llama")
    server.shutdown()
    server.server_close()


def test_without_an_echo_a_completion_is_what_is_generated(held_out, generating):
    items = generated(COMPLETION, held_out, 12, 0)
    found = outcomes_at(items, generating)
    assert [one.right for one in found] == [item.context.ids[0] % 2 == 0 for item in items]
    assert {one.score for one in found} == {None}


def test_without_an_echo_a_choice_is_refused_before_anything_is_asked(generating, tokenizer):
    dead = replace(generating, base_url="http://127.0.0.1:9/v1")
    with pytest.raises(UnsupportedPair, match="would be a guess") as told:
        run_tasks([COMPLETION, CHOICE], dead, tokenizer, items=4, say=print)
    assert told.value.exit_code == 2


def test_another_scorer_takes_the_servers_place(generating, tokenizer, held_out):
    class Table:
        def tails(self, sequences):
            return [
                Tail(logprobs=tuple(table([one]) for one in option), likeliest=(True,))
                for _, option in sequences
            ]

    more = replace(NO_MORE, scorer=Table())
    (found,) = run_tasks([CHOICE], generating, tokenizer, items=9, say=print, more=more)
    items = generated(CHOICE, held_out, 9, 0)
    assert [one["id"] for one in found["records"]] == [item.id for item in items]


def test_a_server_that_does_not_score_is_named(held_out, scripted):
    with pytest.raises(RunFailed):
        outcomes_at(generated(CHOICE, held_out, 2, 0), replace(scripted, served_name="other"))


def test_generated_stands_for_all_that_are_made_here(scripted, tokenizer):
    told: list[str] = []
    found = run_tasks(
        names_in("generated, code-choice"), scripted, tokenizer, items=8, say=told.append
    )
    assert [one["task"] for one in found] == [COMPLETION, CHOICE]
    assert [one["items"] for one in found] == [8, 8]
    assert [one["kind"] for one in found] == ["generated", "generated"]
    assert told == [f"{name}: asking 8 items" for name in (COMPLETION, CHOICE)]
