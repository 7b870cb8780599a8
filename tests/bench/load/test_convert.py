"""Records are whole or absent, whatever ends their writing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantswarm.bench.load import convert as converting
from quantswarm.models.errors import BadFile


def no_space(_spool: Path) -> Iterator[None]:
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupt(_spool: Path) -> Iterator[None]:
    raise KeyboardInterrupt


def test_a_full_disk_leaves_nothing_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converting, "captures", no_space)
    records = tmp_path / "records.jsonl"
    with pytest.raises(OSError, match="No space") as caught:
        converting.convert(tmp_path / "spool", records, lambda _stamp: True)
    assert caught.value.filename == str(records)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting, "captures", interrupt)
    with pytest.raises(KeyboardInterrupt):
        converting.convert(tmp_path / "spool", tmp_path / "records.jsonl", lambda _stamp: True)
    assert list(tmp_path.iterdir()) == []


def test_records_are_never_replaced(tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    records.write_text("precious")
    with pytest.raises(BadFile, match="never overwritten"):
        converting.convert(tmp_path / "spool", records, lambda _stamp: True)
    assert records.read_text() == "precious"
