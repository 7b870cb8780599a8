"""Which jobs become a batch, and how long a group is waited for, with a clock of the tests."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from quantswarm.engines.onnx_serve.fields import Ask
from quantswarm.engines.onnx_serve.jobs import Job
from quantswarm.engines.onnx_serve.queueing import Waiting


@pytest.fixture
def loop() -> Any:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def job(loop: Any, **fields: Any) -> Job:
    return Job(ask=Ask(chat=False, **fields), ids=(5,), most_tokens=4, loop=loop)


def queue(slots: int = 4, wait_s: float = 5.0) -> tuple[Waiting, list[float]]:
    now = [100.0]
    return Waiting(slots, wait_s, clock=lambda: now[0]), now


def test_one_alone_begins_at_once(loop: Any) -> None:
    waiting, _ = queue()
    first = job(loop)
    waiting.add(first)
    assert waiting.batch() == [first]
    waiting.ended(1)
    second = job(loop)
    waiting.add(second)
    assert waiting.batch() == [second], "one was there before: nobody is waited for"


def test_a_batch_has_no_more_rows_than_slots(loop: Any) -> None:
    waiting, _ = queue(slots=2)
    jobs = [job(loop) for _ in range(5)]
    for one in jobs:
        waiting.add(one)
    assert [waiting.batch(), waiting.batch(), waiting.batch()] == [jobs[:2], jobs[2:4], jobs[4:]]


def test_those_who_were_there_are_waited_for(loop: Any) -> None:
    waiting, now = queue()
    jobs = [job(loop) for _ in range(4)]
    waiting.ended(4)
    found: list[list[Job]] = []
    thread = threading.Thread(target=lambda: found.append(waiting.batch()))
    thread.start()
    for one in jobs:
        assert not found
        waiting.add(one)
    thread.join(30)
    assert found == [jobs]
    waiting.ended(4)
    waiting.add(jobs[0])
    now[0] += 5.0
    assert waiting.batch() == [jobs[0]], "and not for longer than that"


def test_what_needs_the_one_sequence_loop_is_computed_alone(loop: Any) -> None:
    waiting, _ = queue()
    plain, scored, seeded = job(loop), job(loop, logprobs=1), job(loop, seed=1)
    greedy = job(loop, seed=1, temperature=0.0)
    for one in (plain, scored, seeded, greedy):
        waiting.add(one)
    assert [waiting.batch() for _ in range(4)] == [[plain], [scored], [seeded], [greedy]]


def test_who_has_gone_is_not_computed(loop: Any) -> None:
    waiting, _ = queue()
    gone, here = job(loop), job(loop)
    waiting.add(gone)
    waiting.add(here)
    gone.cancel()
    assert waiting.batch() == [here]


def test_closing_ends_the_wait_and_gives_back_the_jobs(loop: Any) -> None:
    waiting, _ = queue()
    left = job(loop)
    waiting.add(left)
    assert waiting.close() == [left]
    assert waiting.batch() == []
    assert not waiting.add(left)
