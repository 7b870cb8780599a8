"""Answers of real servers, cut short, read into the one shape; and what cannot be used."""

from __future__ import annotations

import pytest

from quantswarm.bench.verify.answers import DIALECTS
from quantswarm.bench.verify.distance import places
from quantswarm.models.errors import RunFailed

ECHOED = {
    "choices": [
        {
            "logprobs": {
                "tokens": ["token_id:5", "token_id:9", "token_id:31"],
                "token_logprobs": [None, -9.5, -1.25],
                "top_logprobs": [
                    None,
                    {"token_id:9": -9.5, "token_id:2": -0.5},
                    {"token_id:31": -1.25, "token_id:7": -1.5},
                ],
            }
        }
    ]
}
LLAMA = {
    "tokens_evaluated": 2,
    "completion_probabilities": [
        {
            "id": 18,
            "logprob": -2.5,
            "top_logprobs": [{"id": 18, "logprob": -2.5}, {"id": 755, "logprob": -2.75}],
        },
        {"id": 71, "logprob": -2.25, "top_logprobs": [{"id": 71, "logprob": -2.25}]},
    ],
}


def test_an_echo_scores_the_prompt_but_its_first_token():
    answer = DIALECTS["echo"].read((5, 9), ECHOED)
    assert answer.ids == (5, 9, 31)
    assert answer.scored == {1: {9: -9.5, 2: -0.5}, 2: {31: -1.25, 7: -1.5}}


def test_llama_server_scores_what_it_generated():
    answer = DIALECTS["llama"].read((5, 9), LLAMA)
    assert answer.ids == (5, 9, 18, 71)
    assert answer.scored == {2: {18: -2.5, 755: -2.75}, 3: {71: -2.25}}


def test_each_value_is_looked_up_one_row_before_its_place():
    found = places(DIALECTS["echo"].read((5, 9), ECHOED))
    assert found.rows.tolist() == [0, 0, 1, 1]
    assert found.tokens.tolist() == [9, 2, 31, 7]
    assert found.generated.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("dialect", "prompt", "body", "found"),
    [
        ("echo", (5, 8), ECHOED, "not the one that was sent"),
        ("llama", (5, 9, 7), LLAMA, "2 prompt tokens, 3 were sent"),
    ],
)
def test_another_prompt_than_the_one_sent_is_no_answer(dialect, prompt, body, found):
    with pytest.raises(RunFailed, match=found):
        DIALECTS[dialect].read(prompt, body)


def test_tokens_shown_as_text_are_no_ids():
    told = {**ECHOED["choices"][0]["logprobs"], "tokens": ["a", "b", "c"]}
    with pytest.raises(RunFailed, match="shown as text"):
        DIALECTS["echo"].read((5, 9), {"choices": [{"logprobs": told}]})
