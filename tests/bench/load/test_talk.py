"""What is asked: exact lengths, prefixes that are shared and ids that are not, data as it is."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantswarm.bench.load.draft import draft_of, usual_tokens
from quantswarm.bench.load.fit import check_fits, need_of
from quantswarm.bench.load.lengths import length_from
from quantswarm.bench.load.scenario import Scenario, scenario_named, with_data
from quantswarm.bench.load.talk import TalkMaker
from quantswarm.models.errors import BadFile, UserMistake

TINY = Path(__file__).parents[3] / "models" / "tiny"
PREFIX = Scenario(
    name="p",
    api="completions",
    prompt_tokens=length_from({"dist": "uniform", "min": 90, "max": 130}, 1),
    output_tokens=8,
    shared_prefix_tokens=60,
    prefixes=3,
)
TURNS = Scenario(
    name="t",
    api="chat",
    prompt_tokens=length_from({"dist": "uniform", "min": 30, "max": 60}, 1),
    output_tokens=length_from({"dist": "list", "values": [3, 5, 9]}, 1),
    turns=length_from({"dist": "uniform", "min": 1, "max": 4}, 1),
)


def maker(scenario: Scenario, *, seed: int = 0, cell: str = "c", tokens: bool = True) -> TalkMaker:
    return TalkMaker(scenario, seed=seed, cell=cell, tokenizer=TINY if tokens else None)


def counted(text: str) -> int:
    from tokenizers import Tokenizer

    return len(Tokenizer.from_file(str(TINY / "tokenizer.json")).encode(text).ids)


@pytest.fixture(scope="module")
def prefixed() -> TalkMaker:
    return maker(PREFIX)


@settings(deadline=None, max_examples=30)
@given(number=st.integers(0, 10_000))
def test_a_prompt_with_a_shared_prefix_has_its_exact_length(
    prefixed: TalkMaker, number: int
) -> None:
    prompt = prefixed.make(number).turns[0].prompt
    drafted = draft_of(PREFIX, seed=0, number=number)
    assert counted(prompt.text) == prompt.tokens == drafted.turns[0][0]
    before, uid, _ = prompt.text.partition(f"\n{prompt.uid}\n")
    assert uid
    assert counted(before) == 60


def test_prefixes_are_shared_inside_a_cell_alone(prefixed: TalkMaker) -> None:
    def beginnings(made: TalkMaker) -> Counter[str]:
        return Counter(made.make(number).turns[0].prompt.text[:60] for number in range(60))

    here = beginnings(prefixed)
    assert len(here) == 3
    assert min(here.values()) > 5
    assert not set(here) & set(beginnings(maker(PREFIX, cell="d")))
    assert not set(here) & set(beginnings(maker(PREFIX, seed=1)))
    words = maker(PREFIX, tokens=False).make(0).turns[0].prompt
    assert len(words.text.split()) == draft_of(PREFIX, seed=0, number=0).turns[0][0]


def test_turns_are_drawn_for_each_conversation() -> None:
    made = [maker(TURNS).make(number) for number in range(40)]
    assert {len(talk.turns) for talk in made} == {1, 2, 3, 4}
    assert all(talk.is_conversation for talk in made)
    uids = [turn.prompt.uid for talk in made for turn in talk.turns]
    assert len(set(uids)) == len(uids)
    lengths = [turn.prompt.tokens for turn in made[0].turns]
    drafted = draft_of(TURNS, seed=0, number=0).turns
    assert lengths == [asked for asked, _ in drafted]
    assert [turn.output_tokens for turn in made[0].turns] == [answered for _, answered in drafted]


def test_the_plan_of_lengths_does_not_depend_on_the_cell() -> None:
    one, other = maker(TURNS, cell="a").make(7), maker(TURNS, cell="b").make(7)
    assert [t.output_tokens for t in one.turns] == [t.output_tokens for t in other.turns]
    assert [t.prompt.tokens for t in one.turns] == [t.prompt.tokens for t in other.turns]
    assert one.uid != other.uid


def test_a_mix_draws_its_parts_by_weight() -> None:
    mixed = scenario_named("mixed")
    drafts = [draft_of(mixed, seed=0, number=number) for number in range(2000)]
    parts = Counter(draft.part for draft in drafts)
    assert parts["chat"] == pytest.approx(1200, abs=80)
    assert parts["rag"] == pytest.approx(500, abs=80)
    assert parts["code"] == pytest.approx(300, abs=80)
    assert all(draft.scenario.name == draft.part for draft in drafts)
    assert draft_of(scenario_named("smoke"), seed=0, number=0).part is None


def test_a_traces_lengths_go_first() -> None:
    made = maker(scenario_named("smoke")).make(3, 40, 5).turns[0]
    assert (made.prompt.tokens, made.output_tokens) == (40, 5)


def data_set(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def asking(path: Path, **changed: Any) -> Scenario:
    plain = Scenario(name="d", api="completions", prompt_tokens=40, **changed)
    return with_data(plain, path)


def test_data_is_asked_as_it_is_behind_an_id(tmp_path: Path) -> None:
    path = data_set(
        tmp_path, *({"prompt": f"Number {n}", "output_tokens": n + 1} for n in range(5))
    )
    made = [maker(asking(path)).make(number).turns[0] for number in range(10)]
    assert sorted(turn.output_tokens for turn in made[:5]) == [1, 2, 3, 4, 5]
    for turn in made:
        assert turn.prompt.text == f"{turn.prompt.uid}\nNumber {turn.output_tokens - 1}"
        assert turn.prompt.tokens == counted(turn.prompt.text)
    assert len({turn.prompt.uid for turn in made}) == 10  # asked again, it is still unlike itself


def test_an_answers_length_is_counted_where_that_can_be(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "def f(): 1"}]
    path = data_set(tmp_path, {"messages": messages})
    assert maker(asking(path)).make(0).turns[0].output_tokens == counted("def f(): 1")
    assert maker(asking(path, output_tokens=3), tokens=False).make(0).turns[0].output_tokens == 3
    with pytest.raises(BadFile, match="no tokenizer is known") as caught:
        maker(asking(path), tokens=False)
    assert "line 1" in caught.value.asked
    with pytest.raises(BadFile, match="it has none"):
        maker(asking(data_set(tmp_path, {"prompt": "Hi"})))


def test_long_prompts_of_a_data_set_are_left_out(tmp_path: Path) -> None:
    path = data_set(tmp_path, {"prompt": "short"}, {"prompt": "long " * 200})
    scenario = replace(asking(path, output_tokens=4), longest_prompt_tokens=50)
    texts = {maker(scenario).make(number).turns[0].prompt.text[-5:] for number in range(6)}
    assert texts == {"short"}
    with pytest.raises(BadFile, match="none of its prompts is of 5 tokens"):
        maker(replace(scenario, longest_prompt_tokens=5))
    with pytest.raises(BadFile, match="no tokenizer"):
        maker(scenario, tokens=False)


def test_what_a_scenario_needs_of_the_context(tmp_path: Path) -> None:
    smoke = need_of(scenario_named("smoke"), None)
    assert smoke is not None
    assert smoke.tokens == 96
    turns = need_of(TURNS, None)
    assert turns is not None
    assert turns.tokens == 4 * 60 + 4 * 9 + 8 * 16
    mixed, rag = need_of(scenario_named("mixed"), None), need_of(scenario_named("rag"), None)
    assert mixed == rag
    path = data_set(tmp_path, {"prompt": "Hi", "output_tokens": 9}, {"prompt": "a b c d" * 50})
    scenario = asking(path, output_tokens=4)
    assert need_of(scenario, None) is None
    found = need_of(scenario, TINY)
    assert found is not None
    assert found.prompt_tokens == pytest.approx(counted("a b c d" * 50), abs=12)
    assert found.answer_tokens == 4


def test_a_scenario_that_does_not_fit_is_refused_with_its_numbers() -> None:
    rag = need_of(scenario_named("rag"), None)
    check_fits(rag, made_for=2048, given=None)
    check_fits(None, made_for=1, given=1)
    with pytest.raises(
        UserMistake, match=r"1,824 tokens \(1,664 of prompts, 160 of answers\).*512"
    ):
        check_fits(rag, made_for=512, given=None)
    with pytest.raises(UserMistake, match="--context gives it 1,024"):
        check_fits(rag, made_for=2048, given=1024)


def test_every_shipped_scenario_fits_the_embedded_model_but_those_of_8k_tokens() -> None:
    from quantswarm.bench.load.scenario import scenarios

    most = json.loads((TINY / "config.json").read_text())["max_position_embeddings"]
    longer = {"gpu-long-context"}
    assert longer <= {*scenarios()}
    for name, scenario in scenarios().items():
        if name in longer:
            continue
        check_fits(need_of(scenario, TINY), made_for=most, given=None)


def test_how_long_prompts_and_answers_usually_are() -> None:
    assert usual_tokens(scenario_named("smoke"), seed=0) == (64, 32)
    asked, answered = usual_tokens(TURNS, seed=0)
    assert asked == pytest.approx(2.5 * 45, rel=0.25)
    assert answered == pytest.approx(2.5 * 17 / 3, rel=0.25)
