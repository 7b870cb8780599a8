"""The embedded model's tokenizer and text, and a scripted server that scores ids by its table."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantswarm.bench.quality.tasks.passages import Passages, passages
from quantswarm.bench.selection import select
from quantswarm.bench.verify.asking import Asked
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.server import running
from quantswarm.models import source


@pytest.fixture(scope="session")
def tokenizer() -> Path:
    return source.tiny_folder()


@pytest.fixture(scope="session")
def held_out(tokenizer) -> Passages:
    return passages(tokenizer)


@pytest.fixture(scope="session")
def scripted(tmp_path_factory):
    """A server that tells log-probability -(1 + id mod 4)·ln 2 of each token."""
    chosen = select("scripted", None, "")
    options = ServeOptions(port=0, users=4, request_tokens=2048)
    prepared = prepare(chosen.engine, chosen.recipe, chosen.artefact, options, found=chosen.found)
    log = tmp_path_factory.mktemp("scripted") / "server.log"
    with running(chosen.engine, None, prepared.spec, prepared.flags, log=log) as up:
        yield Asked(base_url=up.base_url, served_name=up.served_name, dialect="echo")
