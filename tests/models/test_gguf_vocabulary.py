from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from quantswarm.models import gguf_vocabulary
from quantswarm.models.errors import UnsupportedPair


@pytest.fixture(scope="module")
def tokenizer() -> dict[str, Any]:
    from quantswarm.models.source import tiny_folder

    found: dict[str, Any] = json.loads((tiny_folder() / "tokenizer.json").read_text())
    return found


def test_the_embedded_tokenizer_is_known(tokenizer: dict[str, Any]) -> None:
    assert gguf_vocabulary.pre_tokenizer(tokenizer, "tiny") == "gpt-2"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("model", "type"), "Unigram", "Unigram"),
        (("model", "byte_fallback"), True, "falls back to bytes"),
        (("model", "ignore_merges"), True, "skips merges"),
        (("pre_tokenizer",), None, "None"),
        (("pre_tokenizer", "use_regex"), False, "not by GPT-2's"),
        (("pre_tokenizer", "add_prefix_space"), True, "space is put before"),
        (
            ("pre_tokenizer",),
            {"type": "Sequence", "pretokenizers": [{"type": "Split"}, {"type": "ByteLevel"}]},
            r"Sequence\(Split, ByteLevel\)",
        ),
        (("normalizer",), {"type": "NFC"}, "normalized"),
    ],
)
def test_any_other_way_of_cutting_text_is_refused(
    tokenizer: dict[str, Any], path: tuple[str, ...], value: Any, words: str
) -> None:
    changed = copy.deepcopy(tokenizer)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(UnsupportedPair, match=words) as caught:
        gguf_vocabulary.pre_tokenizer(changed, "x")
    assert "silently" in str(caught.value)


def test_embeddings_without_a_token_are_marked_unused(tokenizer: dict[str, Any]) -> None:
    known = len(tokenizer["model"]["vocab"])
    tokens, kinds = gguf_vocabulary._tokens(tokenizer, known + 2, "x")
    assert len(tokens) == len(set(tokens)) == known + 2
    assert kinds[known:] == [5, 5]


def test_a_tokenizer_larger_than_the_model_is_refused(tokenizer: dict[str, Any]) -> None:
    from quantswarm.models.errors import BadFile

    with pytest.raises(BadFile, match="embeddings"):
        gguf_vocabulary._tokens(tokenizer, 100, "x")


def test_a_token_put_before_the_text_is_found_by_asking(
    micro_folder: Path, tokenizer: dict[str, Any]
) -> None:
    from quantswarm.models.hf_folder import inspect

    path = micro_folder / "tokenizer.json"
    changed = json.loads(path.read_text())
    changed["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {
            "<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}
        },
    }
    path.write_text(json.dumps(changed))
    assert gguf_vocabulary._added_around(inspect(micro_folder, "x")) == (True, False)
