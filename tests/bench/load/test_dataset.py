"""Data sets, read strictly: small made examples of both formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.load.dataset import Entry, read_dataset
from quantswarm.models.errors import BadFile


def said(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"id": "x", "conversations": [{"from": who, "value": text} for who, text in pairs]}


def read(folder: Path, text: str) -> tuple[Entry, ...]:
    path = folder / "data"
    path.write_text(text, encoding="utf-8")
    return read_dataset(path)


def test_conversations(tmp_path: Path) -> None:
    talks = [
        said(("human", "What is tea?"), ("gpt", "A drink."), ("human", "Hot?"), ("gpt", "Often.")),
        said(("gpt", "an answer to nothing"), ("human", "Hi"), ("human", "there")),
        said(("system", "Be brief."), ("user", "Why?"), ("assistant", "Because.")),
        said(("gpt", "nobody asked")),
    ]
    entries = read(tmp_path, json.dumps(talks, indent=1))
    assert [entry.asks for entry in entries] == [
        ("What is tea?", "Hot?"),
        ("Hi\n\nthere",),
        ("Be brief.\n\nWhy?",),
    ]
    assert [entry.answers for entry in entries] == [
        ("A drink.", "Often."),
        (None,),
        ("Because.",),
    ]


def test_lines(tmp_path: Path) -> None:
    lines = [
        {"prompt": "One", "output_tokens": 5},
        {"id": 7, "prompt": "Two"},
        {"messages": [{"role": "user", "content": "Three"}, {"role": "assistant", "content": "A"}]},
    ]
    entries = read(tmp_path, "\n\n".join(map(json.dumps, lines)))
    assert [entry.line for entry in entries] == [1, 3, 5]
    assert [entry.asks[0] for entry in entries] == ["One", "Two", "Three"]
    assert [entry.output_tokens for entry in entries] == [5, None, None]
    assert entries[2].answers == ("A",)


@given(
    texts=st.lists(st.text(min_size=1), min_size=1, max_size=6), indent=st.sampled_from([None, 1])
)
def test_any_text_comes_through(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], indent: int | None
) -> None:
    folder = tmp_path_factory.mktemp("any")
    talks = [said(("human", text), ("gpt", text)) for text in texts]
    assert [e.asks for e in read(folder, json.dumps(talks, indent=indent))] == [(t,) for t in texts]
    lines = "\n".join(json.dumps({"prompt": text}) for text in texts)
    assert [e.asks for e in read(folder, lines)] == [(t,) for t in texts]


GOOD = json.dumps(said(("human", "Hi")))


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        (f'[\n{GOOD},\n{{"x": 1}}\n]', 3, "'conversations' is needed"),
        (f"[\n{GOOD}\n{GOOD}\n]", 2, "not closed after this entry"),
        (f"[\n{GOOD},\n{{oops\n]", 3, "not JSON"),
        (f"[\n{GOOD}\n] more", 3, "behind the list's end"),
        ('[\n\n{"conversations": [{"from": "alien", "value": "x"}]}]', 3, "'alien' is none of"),
        ('[{"conversations": [{"from": "human"}]}]', 1, "a text 'value'"),
        ('[{"conversations": ["hello"]}]', 1, "needs 'from'"),
        ('{"prompt": "a"}\n{"prompt": 3}', 2, "must be a text"),
        ('{"prompt": "a"}\n\nnonsense', 3, "not JSON"),
        ('{"prompt": "a", "output_token": 3}', 1, "'output_token' is none of"),
        ('{"prompt": "a", "messages": []}', 1, "not both"),
        ('{"prompt": "a", "output_tokens": 0}', 1, "at least 1"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', 1, "no message of the user"),
        ("3", 1, "an object|a JSON object"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(
    tmp_path: Path, text: str, line: int, found: str
) -> None:
    with pytest.raises(BadFile, match=found) as caught:
        read(tmp_path, text)
    assert f"line {line}" in caught.value.asked


def test_nothing_to_ask(tmp_path: Path) -> None:
    for text in ("", "[]", json.dumps([said(("gpt", "x"))])):
        with pytest.raises(BadFile, match="no prompt"):
            read(tmp_path, text)
    with pytest.raises(BadFile, match="cannot be read"):
        read_dataset(tmp_path / "nowhere")
    (tmp_path / "latin").write_bytes(b'{"prompt": "\xe9"}')
    with pytest.raises(BadFile, match="not UTF-8"):
        read_dataset(tmp_path / "latin")
