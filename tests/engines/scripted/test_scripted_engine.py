"""The engine as the other layers see it: discovered, planned, started like any other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from quantswarm.engines.prepare import Prepared, ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.engines.server import running
from quantswarm.models.errors import UnknownName


def prepared(**options: str) -> Prepared:
    engine = engine_named("scripted")
    return prepare(engine, None, None, ServeOptions(port=0, engine_options=options))


def test_it_is_always_available_and_loads_nothing() -> None:
    engine = engine_named("scripted")
    assert engine.probe().available
    assert engine.formats == {}


def test_the_command_says_what_was_asked() -> None:
    found = prepared(behaviour="itl=3ms,slots=2", ledger="truth.jsonl")
    argv = list(found.command.argv)
    assert argv[:3] == [sys.executable, "-m", "quantswarm.engines.scripted.server_main"]
    assert argv[argv.index("--behaviour") + 1] == "itl=3ms,slots=2"
    assert argv[argv.index("--ledger") + 1] == "truth.jsonl"
    assert found.command.reasons["slots"].startswith("2")


def test_mistakes_are_met_before_the_start() -> None:
    with pytest.raises(UnknownName, match="Did you mean itl"):
        prepared(behaviour="itll=3ms")
    with pytest.raises(UnknownName, match="Did you mean behaviour"):
        prepared(behavior="itl=3ms")


def test_it_starts_answers_and_leaves(tmp_path: Path) -> None:
    found = prepared(behaviour="ttft=1ms")
    with running(
        engine_named("scripted"), None, found.spec, found.flags, log=tmp_path / "log"
    ) as server:
        assert server.served_name == "scripted"
        assert server.alive()
    assert not server.alive()
