"""What is complained of when faults are misjudged: pure, on made records and entries."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from quantswarm.bench.selftest.cases import DYING_SERVER, FAULTS, FaultCase
from quantswarm.bench.selftest.fault_run import complaints
from quantswarm.engines.scripted.fault import INSTEAD, MIDWAY

CASE = dataclasses.replace(
    FAULTS, expected={"500": ("http_500",), "reset@token:3": ("reset", "truncated")}
)
DYING = dataclasses.replace(CASE, server_dies=True)
GOOD = (("a", "ok", None), ("b", "http_500", "500"), ("c", "reset", "reset"))


def found(case: FaultCase, *seen: tuple[str, str, str | None], **more: Any) -> list[str]:
    """Complaints about (id, outcome, fault) where tokens agree; `more` changes every record."""
    fields = {
        "counted_tokens": 1,
        "output_tokens": 1,
        "prompt_tokens": 1,
        "intended_ns": 0,
        "end_ns": 1,
        **more,
    }
    records: Any = [
        SimpleNamespace(id=uid, outcome=outcome, ok=outcome == "ok", **fields)
        for uid, outcome, _ in seen
    ]
    entries: Any = [
        SimpleNamespace(id=uid, fault=fault, tokens=1, prompt_tokens=1)
        for uid, outcome, fault in seen
        if outcome != "refused"
    ]
    return list(complaints(case, records, entries))


def test_each_fault_once_and_by_its_name_is_good() -> None:
    assert found(CASE, *GOOD) == []


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ((*GOOD[:2], ("c", "ok", "reset")), "is ok, not reset or truncated"),
        ((("a", "stalled", None), *GOOD[1:]), "fault: none) is stalled, not ok"),
        (GOOD[:2], "fault reset struck 0 times"),
        ((*GOOD, ("d", "reset", "reset")), "fault reset struck 2 times"),
        ((*GOOD, ("d", "refused", None)), "unreachable server"),
    ],
)
def test_whatever_is_wrong_is_said(seen: tuple[Any, ...], words: str) -> None:
    assert any(words in sentence for sentence in found(CASE, *seen))


def test_a_dead_server_refuses() -> None:
    assert found(DYING, *GOOD, ("d", "refused", None)) == []


def test_a_request_that_hangs_beyond_its_limits_is_said() -> None:
    assert any("hung" in sentence for sentence in found(CASE, *GOOD, end_ns=60 * 10**9))


def test_every_fault_that_the_server_knows_is_tried() -> None:
    tried = {*FAULTS.kinds, *DYING_SERVER.kinds}
    assert tried >= {*INSTEAD, *MIDWAY}
    assert {"401", "429", "500", "503"} <= tried
