"""What commands print: columns that line up within a terminal's width."""

from __future__ import annotations

import pytest

from quantswarm.bench.output import print_findings, print_table


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


LONG = "a cure of many words " * 8


def test_no_line_of_a_table_is_wider_than_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "remark"), [("one", LONG), ("a longer name", "short"), ("empty", "")])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].index("remark") == lines[1].index("a cure") == lines[2].index("cure")
    assert lines[-1] == "empty"


def test_a_cure_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    print_findings([("cpu", "ok", "fast", ""), ("disk", "missing", LONG, LONG)])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "cpu   ok       fast"
    assert sum("cure: " in line for line in lines) == 1


def test_a_word_that_is_too_long_is_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/" + "folder-" * 30
    print_findings([("disk", "missing", f"no {path}", "")])
    assert path in capsys.readouterr().out
