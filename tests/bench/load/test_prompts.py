from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantswarm.bench.load.prompts import PromptMaker, PromptPool, corpus, uid_of
from quantswarm.models.errors import BadFile


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE of 600 entries, with a token put before every text as some models want."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([corpus()[:100_000]], trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", made.token_to_id("<s>"))]
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@settings(deadline=None, max_examples=40)
@given(tokens=st.integers(24, 400), number=st.integers(0, 10_000), seed=st.integers(0, 9))
def test_length_is_exact(tokenizer: Path, tokens: int, number: int, seed: int) -> None:
    from tokenizers import Tokenizer

    maker = PromptMaker(tokens=tokens, seed=seed, cell="c", tokenizer=tokenizer)
    prompt = maker.make(number)
    ids = Tokenizer.from_file(str(tokenizer)).encode(prompt.text).ids
    assert prompt.tokens == tokens == len(ids)
    assert prompt.text.startswith(prompt.uid)


def test_prompts_are_a_function_of_seed_cell_and_number(tokenizer: Path) -> None:
    def texts(seed: int, cell: str) -> list[str]:
        maker = PromptMaker(tokens=64, seed=seed, cell=cell, tokenizer=tokenizer)
        return [maker.make(number).text for number in range(5)]

    assert texts(0, "a") == texts(0, "a")
    everything = texts(0, "a") + texts(1, "a") + texts(0, "b")
    assert len({text[:12] for text in everything}) == len(everything)


def test_a_folder_with_a_tokenizer_will_do(tokenizer: Path) -> None:
    assert PromptMaker(tokens=32, seed=0, cell="", tokenizer=tokenizer.parent).make(0).tokens == 32


def test_without_a_tokenizer_words_are_sent_and_nothing_is_claimed() -> None:
    prompt = PromptMaker(tokens=50, seed=0, cell="", tokenizer=None).make(3)
    assert prompt.tokens is None
    assert len(prompt.text.split()) == 50
    assert prompt.text.split()[0] == prompt.uid


def test_a_broken_tokenizer_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(BadFile, match="tokenizer"):
        PromptMaker(tokens=50, seed=0, cell="", tokenizer=tmp_path)


def test_uids_do_not_collide() -> None:
    uids = {uid_of(seed, cell, n) for seed in (0, 1) for cell in ("a", "b") for n in range(20_000)}
    assert len(uids) == 80_000


def test_an_empty_pool_makes_more_and_counts_them() -> None:
    pool = PromptPool(PromptMaker(tokens=30, seed=0, cell="", tokenizer=None))
    pool.fill(2)
    taken = [pool.take().uid for _ in range(5)]
    assert len(set(taken)) == 5
    assert (pool.made, pool.late, pool.ready) == (5, 3, 0)
