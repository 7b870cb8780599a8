"""A log of our own choosing stays where a message names it, and nowhere else."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from quantswarm.bench.own_log import own_log
from quantswarm.models.errors import UserMistake


class Mistake(UserMistake):
    """One that needs no words."""

    def __init__(self) -> None:
        super().__init__("asked", "found", next_step="next")


@pytest.mark.parametrize(
    ("said", "end", "stays"),
    [
        ("words", None, False),
        ("words", ValueError, True),
        ("", ValueError, False),
        ("words", KeyboardInterrupt, False),
        ("words", Mistake, False),
    ],
)
def test_it_stays_after_a_failure_that_it_tells_of(
    said: str,
    end: type[BaseException] | None,
    stays: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        nullcontext() if end is None else pytest.raises(end),
        own_log("quality", "vllm") as log,
    ):
        if said:
            log.write_text(said)
        if end is not None:
            raise end
    assert log.exists() == stays
    assert bool(list(tmp_path.iterdir())) == stays
