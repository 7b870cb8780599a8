"""Loading a tokenizer: whole texts, and a clear word where there is none."""

from __future__ import annotations

import json

import pytest

from quantswarm.models.errors import BadFile
from quantswarm.models.source import tiny_folder
from quantswarm.models.tokenizer_file import loaded


def test_a_long_text_is_encoded_whole_whatever_the_file_says(tmp_path):
    told = json.loads((tiny_folder() / "tokenizer.json").read_text(encoding="utf-8"))
    told["truncation"] = {
        "direction": "Right",
        "max_length": 4,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(told), encoding="utf-8")
    text = "def main():\n" * 50
    expected = loaded(tiny_folder()).encode(text).ids
    assert len(expected) > 100
    assert loaded(tmp_path).encode(text).ids == expected
    assert loaded(tmp_path / "tokenizer.json").encode(text).ids == expected


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    for path in (tmp_path, tmp_path / "nowhere.json"):
        with pytest.raises(BadFile, match=r"tokenizer .*\.json"):
            loaded(path)
