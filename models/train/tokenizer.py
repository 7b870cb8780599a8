"""A byte-level BPE of 2,048 tokens, trained on the corpus, in the `tokenizers` file format."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from quantswarm.models.train.corpus import SPECIAL_TOKENS

VOCABULARY = 2048


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """GPT-2's pre-tokenizer, so that llama.cpp's `gpt-2` pre-tokenizer gives the same ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
