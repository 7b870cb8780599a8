from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.load.capture import Capture
from quantswarm.bench.load.convert import convert
from quantswarm.bench.load.spool import SpoolWriter, captures, encoded
from quantswarm.models.errors import BadFile


def capture(number: int, segments: list[bytes]) -> Capture:
    return Capture(
        uid=f"id{number}",
        user=number,
        intended_ns=1,
        sent_ns=None if number % 2 else 2,
        end_ns=99,
        conn_reused=bool(number % 2),
        closed=True,
        failure="reset",
        error="é",
        expected_prompt_tokens=None,
        expected_output_tokens=3,
        stamps=list(range(10, 10 + len(segments))),
        segments=segments,
    )


def same(one: Capture, other: Capture) -> bool:
    fields = [f for f in Capture.__dataclass_fields__ if f != "stamps"]
    return list(one.stamps) == list(other.stamps) and all(
        getattr(one, f) == getattr(other, f) for f in fields
    )


@given(st.lists(st.lists(st.binary(min_size=1, max_size=30), max_size=4), max_size=4))
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, all_segments: list[list[bytes]]
) -> None:
    path = tmp_path_factory.mktemp("spool") / "s"
    writer = SpoolWriter(path)
    wanted = [capture(n, segments) for n, segments in enumerate(all_segments)]
    for item in wanted:
        writer.add(item)
    writer.close()
    found = list(captures(path))
    assert len(found) == len(wanted)
    assert all(same(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_cut_anywhere_leaves_the_whole_entries(tmp_path: Path) -> None:
    entries = [encoded(capture(n, [b"abc", b"de"])) for n in range(2)]
    raw = b"".join(entries)
    for keep in range(len(raw) + 1):
        path = tmp_path / "cut"
        path.write_bytes(raw[:keep])
        whole = (keep >= len(entries[0])) + (keep == len(raw))
        assert len(list(captures(path))) == whole


def test_an_entry_is_on_disk_before_the_file_is_closed(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "s")
    writer.add(capture(1, [b"x"]))
    assert len(list(captures(tmp_path / "s"))) == 1
    writer.close()


def test_records_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(encoded(capture(0, [b"x"])))
    done = convert(tmp_path / "s", tmp_path / "records.jsonl", lambda _: True)
    assert done.records == 1
    assert not (tmp_path / "records.jsonl.partial").exists()
    with pytest.raises(BadFile, match="never overwritten"):
        convert(tmp_path / "s", tmp_path / "records.jsonl", lambda _: True)
