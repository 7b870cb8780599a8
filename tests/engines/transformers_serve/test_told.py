"""Log-probabilities in OpenAI's two forms."""

from __future__ import annotations

from quantswarm.engines.transformers_serve.facts import CACHE, FACTS, cache, loaded
from quantswarm.engines.transformers_serve.told import Scored, chat, completion

WORDS = {1: "a", 2: "é", 3: " loop"}
TOKENS = [
    Scored(token=1, logprob=None),
    Scored(token=3, logprob=-0.5, top=((3, -0.5), (2, -1.25))),
]


def test_completions():
    assert completion(TOKENS, WORDS.__getitem__) == {
        "tokens": ["a", " loop"],
        "token_logprobs": [None, -0.5],
        "top_logprobs": [None, {" loop": -0.5, "é": -1.25}],
        "text_offset": [0, 1],
    }


def test_chat():
    (entry,) = chat(TOKENS[1:], WORDS.__getitem__)["content"]
    assert entry["token"] == " loop"
    assert entry["logprob"] == -0.5
    assert [one["bytes"] for one in entry["top_logprobs"]] == [list(b" loop"), [0xC3, 0xA9]]


def test_facts_are_the_last_of_the_log():
    log = f'words\n{FACTS}{{"product": "a"}}\n{FACTS}{{"product": "b"}}\n{CACHE}{{"tokens": 512}}\n'
    assert loaded(log) == {"product": "b"}
    assert cache(log) == {"tokens": 512}


def test_a_log_that_tells_nothing():
    assert loaded("") == {}
    assert loaded(f'{FACTS}{{"product": ') == {}
    assert cache(f"{CACHE}[1]") == {}
