"""What the user may change about a quantization, and what it is calibrated on."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from quantswarm.models import source, store
from quantswarm.models.errors import BadFile, UserMistake
from quantswarm.models.quantize import calibration
from quantswarm.models.quantize.settings import VARIABLE, Settings, chosen
from quantswarm.models.recipes import recipe_named
from quantswarm.models.train.corpus import is_held_out

TOKENIZER = source.tiny_folder() / "tokenizer.json"


def test_the_defaults_hold_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert chosen(Settings(rows=7)) == Settings(rows=7)


def test_settings_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = tmp_path / "my notes.txt"
    text.write_text("x")
    monkeypatch.setenv(VARIABLE, f"group_size=64 symmetric=no rows=9 seed=0 text='{text}'")
    assert chosen(Settings(seed=3)) == Settings(
        group_size=64, symmetric=False, rows=9, seed=0, text=text
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("groupsize=64", "no setting"),
        ("rows", "no setting"),
        ("group_size=100", "Choices: 32, 64, 128"),
        ("symmetric=maybe", "neither yes nor no"),
        ("rows=0", "no whole number from 1"),
        ("tokens=many", "no whole number from 1"),
        ("text=/no/such/file", "no such file"),
    ],
)
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, given: str, words: str) -> None:
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(UserMistake, match=words):
        chosen(Settings())


def test_other_settings_are_another_artefact(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = tmp_path / "text"
    paths = []
    for content, given in [
        ("a", ""),
        ("a", "seed=1"),
        ("a", f"text={text}"),
        ("b", f"text={text}"),
    ]:
        text.write_text(content)
        monkeypatch.setenv(VARIABLE, given)
        paths.append(store.planned("tiny", recipe_named("gptq")).path)
    assert len(set(paths)) == 4
    monkeypatch.setenv(VARIABLE, "")
    assert store.planned("tiny", recipe_named("gptq")).path == paths[0]


def test_rows_follow_from_the_seed() -> None:
    few = Settings(rows=3, tokens=32)
    first = calibration.rows(TOKENIZER, few, "test")
    assert [len(row) for row in first.rows] == [32] * 3
    assert first == calibration.rows(TOKENIZER, few, "test")
    other = calibration.rows(TOKENIZER, Settings(rows=3, tokens=32, seed=1), "test")
    assert other.sha256 != first.sha256


def test_the_text_that_quality_is_measured_on_is_left_out() -> None:
    files = list(calibration._training_files())
    assert len(files) > 100
    library = Path(sysconfig.get_path("stdlib"))
    assert not [path for path in files if is_held_out(path.relative_to(library).as_posix())]


def test_a_users_text_is_cut_into_rows(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("def main():\n    return 1\n" * 200)
    found = calibration.rows(TOKENIZER, Settings(rows=4, tokens=64, text=text), "test")
    assert len(found.rows) == 4
    assert "text, sha256" in found.origin
    with pytest.raises(BadFile, match="gives 1 rows of 1024 tokens, 4 are asked for"):
        calibration.rows(TOKENIZER, Settings(rows=4, tokens=1024, text=text), "test")
