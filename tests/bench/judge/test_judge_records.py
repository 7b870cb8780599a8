import json
from pathlib import Path

import pytest
from made_run import START, failed, record

from quantswarm.bench.judge.records import read_records
from quantswarm.models.errors import BadFile


def _write(folder: Path, *lines: str | bytes) -> Path:
    path = folder / "records.jsonl"
    path.write_bytes(b"".join(x if isinstance(x, bytes) else x.encode() for x in lines))
    return path


def _line(number: int, **changed: object) -> str:
    return json.dumps(record(number, START, **changed)) + "\n"


def test_reads_whole_answers_and_failures(tmp_path: Path) -> None:
    path = _write(tmp_path, _line(1), json.dumps(failed(2, START, "http_503")) + "\n")
    found = read_records(path)
    assert [r.ok for r in found.records] == [True, False]
    assert found.records[1].outcome == "http_503"
    assert found.records[1].sent_ns is None
    assert found.truncated == 0


def test_keys_of_later_versions_are_ignored(tmp_path: Path) -> None:
    assert read_records(_write(tmp_path, _line(1, mood="good"))).records[0].id == "r1"


@pytest.mark.parametrize("keep", [1, 17, -1])
def test_a_last_line_cut_off_by_a_kill_is_counted(tmp_path: Path, keep: int) -> None:
    found = read_records(_write(tmp_path, _line(1), _line(2).rstrip("\n")[:keep]))
    assert (len(found.records), found.truncated) == (1, 1)


def test_a_last_line_cut_inside_a_character_is_counted(tmp_path: Path) -> None:
    cut = json.dumps(record(2, START, error="ü"), ensure_ascii=False).encode()
    found = read_records(_write(tmp_path, _line(1), cut[: cut.index(b"\xc3") + 1]))
    assert (len(found.records), found.truncated) == (1, 1)


def test_a_whole_last_line_needs_no_line_end(tmp_path: Path) -> None:
    found = read_records(_write(tmp_path, _line(1), _line(2).rstrip("\n")))
    assert (len(found.records), found.truncated) == (2, 0)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"schema": 2}, "schema"),
        ({"user": "3"}, "user"),
        ({"user": True}, "user"),
        ({"intended_ns": None}, "intended_ns"),
        ({"end_ns": 1.5}, "end_ns"),
        ({"event_tokens": [1, 1]}, "one number"),
        ({"events": 9}, "one number"),
        ({"event_ns": [4, 3, 2, 1]}, "back in time"),
        ({"sent_ns": None}, "before the request"),
        ({"end_ns": 5}, "before intended"),
        ({"outcome": ""}, "outcome"),
        ({"conn_reused": 1}, "conn_reused"),
        ({"server_timings": []}, "server_timings"),
        ({"id": "r1"}, "twice"),
    ],
)
def test_anything_else_is_refused_with_its_line(
    tmp_path: Path, changed: dict[str, object], word: str
) -> None:
    path = _write(tmp_path, _line(1), _line(2, **changed), _line(3))
    with pytest.raises(BadFile, match=r"line 2") as caught:
        read_records(path)
    assert word in str(caught.value)


@pytest.mark.parametrize("line", ["{\n", "\n", "[]\n", b"\xff\n"])
def test_a_malformed_line_that_is_not_the_last_is_refused(
    tmp_path: Path, line: str | bytes
) -> None:
    with pytest.raises(BadFile, match="line 2"):
        read_records(_write(tmp_path, _line(1), line, _line(3)))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    made = record(1, START)
    del made["cached_tokens"]
    with pytest.raises(BadFile, match="cached_tokens"):
        read_records(_write(tmp_path, json.dumps(made) + "\n"))


def test_a_missing_file_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"records\.jsonl"):
        read_records(tmp_path / "records.jsonl")
