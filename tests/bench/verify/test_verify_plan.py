"""Prompts: the same for the same seed, of different lengths, and refused where text is short."""

from __future__ import annotations

import pytest

from quantswarm.bench.verify.plan import Plan, drawn
from quantswarm.models.errors import BadFile, UserMistake
from quantswarm.models.source import tiny_folder

TOKENIZER = tiny_folder() / "tokenizer.json"


@pytest.mark.parametrize("tokenizer", [TOKENIZER, None])
def test_prompts_follow_the_seed_and_differ_in_length(tokenizer):
    plan = Plan(prompts=20, prompt_tokens=40)
    first = drawn(plan, tokenizer, 2048)
    assert first == drawn(plan, tokenizer, 2048)
    assert first != drawn(Plan(prompts=20, prompt_tokens=40, seed=1), tokenizer, 2048)
    lengths = set(map(len, first))
    assert len(lengths) > 5
    assert min(lengths) >= 20
    assert max(lengths) <= 40
    assert all(0 <= one < 2048 for ids in first for one in ids)


def test_a_short_text_is_refused(tmp_path):
    text = tmp_path / "short.txt"
    text.write_text("too short", encoding="utf-8")
    with pytest.raises(BadFile, match="prompts have up to 48"):
        drawn(Plan(text=text), TOKENIZER, 2048)


def test_text_needs_a_tokenizer(tmp_path):
    with pytest.raises(UserMistake, match="no tokenizer"):
        drawn(Plan(text=tmp_path / "x"), None, 2048)
