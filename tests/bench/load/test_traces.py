"""Published traces: their three column forms, and what a reader must not swallow."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantswarm.bench.load.traces import TraceEntry, read_trace, trace_named
from quantswarm.models.errors import BadFile, UnknownName

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
2023-11-16 18:17:04.0319601,110,27
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:00.017335+00:00,2399,6
2024-05-10 00:00:01+00:00,76,15
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
45.25,GPT-4,7,3,10,API log
"""
MOONCAKE = """{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}
{"timestamp": 30535, "input_length": 6472, "output_length": 26, "hash_ids": [46]}

{"timestamp": 30535.5, "input_length": 1, "output_length": 1, "hash_ids": []}
"""


def entries(*rows: tuple[int, int, int]) -> tuple[TraceEntry, ...]:
    return tuple(TraceEntry(offset_ns=at, prompt_tokens=p, output_tokens=o) for at, p, o in rows)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (AZURE_2023, entries((0, 4808, 10), (52_000_000, 3180, 8), (52_000_100, 110, 27))),
        (AZURE_2024, entries((0, 2162, 5), (7_405_000, 2399, 6), (990_070_000, 76, 15))),
        (BURSTGPT, entries((0, 472, 18), (40 * 10**9, 1087, 0), (40_250_000_000, 7, 3))),
        (MOONCAKE, entries((0, 6955, 52), (3_053_000_000, 6472, 26), (3_053_500_000, 1, 1))),
    ],
    ids=["azure-2023", "azure-2024", "burstgpt", "mooncake"],
)
def test_published_forms(text: str, expected: tuple[TraceEntry, ...], tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    assert read_trace(path) == expected
    path.write_text("\ufeff" + text.replace("\n", "\r\n"), encoding="utf-8")
    assert read_trace(path) == expected


def test_entries_come_by_time_whatever_their_order(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n3,1,1\n1,2,2\n2,3,3\n")
    expected = entries((0, 2, 2), (10**9, 3, 3), (2 * 10**9, 1, 1))
    assert read_trace(path) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no request"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "no request"),
        ("when,in,out\n1,2,3\n", r"line 2: its columns \(when, in, out\)"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n1,2,3\nsoon,2,3\n", "line 3"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n1,2,x\n", "no number of tokens"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n1,-2,1\n", "-2 tokens"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n1,2\n", "no number of tokens"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nnan,2,1\n", "no instant"),
        ('{"timestamp": 1, "input_length": 1, "output_length": 1}\n{"time\n', "line 2"),
    ],
)
def test_what_is_no_trace(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(BadFile, match=said):
        read_trace(path)


def test_names_and_the_trace_that_ships() -> None:
    made = read_trace(trace_named("made-trace"))
    assert len(made) > 200
    assert made[-1].offset_ns < 120 * 10**9
    assert all(
        24 <= entry.prompt_tokens <= 384 and 4 <= entry.output_tokens <= 128 for entry in made
    )
    assert trace_named("some/where.csv") == Path("some/where.csv")
    with pytest.raises(UnknownName, match="made-trace"):
        trace_named("mad-trace")
    with pytest.raises(BadFile, match="cannot be read"):
        read_trace(Path("some/where.csv"))
