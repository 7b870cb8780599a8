from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from quantswarm.models import gguf_check, source
from quantswarm.models.errors import BuildFailed

FAKE = """
from tokenizers import Tokenizer

class Llama:
    def __init__(self, model_path, vocab_only, verbose):
        assert vocab_only
        print("libraries like to print")
        self.tokenizer = Tokenizer.from_file(model_path)

    def tokenize(self, text, add_bos, special):
        ids = self.tokenizer.encode(text.decode(), add_special_tokens=False).ids
        return ids[::{step}]
"""


@pytest.fixture
def tokenizer() -> Path:
    return source.tiny_folder() / "tokenizer.json"


def fake_llama_cpp(folder: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """A package of that name whose "GGUF" is a tokenizer.json."""
    (folder / "llama_cpp.py").write_text(content)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_equal_ids_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Path) -> None:
    fake_llama_cpp(tmp_path, monkeypatch, FAKE.format(step=1))
    gguf_check.require_same_ids(tokenizer, tokenizer)
    assert gguf_check.llama_cpp_ids(tokenizer, ("<|end|>",)) == [[3]]


def test_other_ids_fail_with_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Path
) -> None:
    fake_llama_cpp(tmp_path, monkeypatch, FAKE.format(step=-1))
    with pytest.raises(BuildFailed, match="other token ids for ' leading"):
        gguf_check.require_same_ids(tokenizer, tokenizer)


def test_a_package_that_does_not_load_is_said_and_not_fatal(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tokenizer: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_llama_cpp(tmp_path, monkeypatch, "raise OSError('no libllama.so')")
    gguf_check.require_same_ids(tokenizer, tokenizer)
    assert "unchecked" in capsys.readouterr().err


def test_without_the_package_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch, tokenizer: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert gguf_check.llama_cpp_ids(tokenizer, ("a",)) is None
