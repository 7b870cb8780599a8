"""The metrics that engines name exist: in the snapshot of their version, and in the real server.

A snapshot is what the server of that version answered under its metrics path after four requests,
without the metrics of its runtime. After an engine's update take a new one; read the difference.
"""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from quantswarm.engines.base import Engine
from quantswarm.engines.metrics_text import picked
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engines
from quantswarm.engines.server import running
from quantswarm.models import source, store
from quantswarm.models.recipes import recipes

SNAPSHOTS = Path(__file__).parent / "snapshots"
OURS = {
    *("running", "waiting", "kv_cache_use", "preemptions", "generation_tokens", "prompt_tokens"),
    *("computed_prompt_tokens", "prefix_queries", "prefix_hits", "ttft", "itl"),
}
HISTOGRAMS = {"ttft", "itl"}
COUNTING = [engine for engine in engines().values() if engine.gauges]
REAL = [engine for engine in COUNTING if engine.formats]
CHEAP = ("fp32", "q8_0")


def named(engine: Engine) -> str:
    return engine.name


def check(engine: Engine, text: str) -> None:
    found = picked(text, engine.gauges)
    assert set(found) == set(engine.gauges)
    for name, value in found.items():
        assert isinstance(value, dict) == (name in HISTOGRAMS), name
        if name in HISTOGRAMS:
            assert value["buckets"][-1] == [None, value["count"]]


@pytest.mark.parametrize("engine", COUNTING, ids=named)
def test_an_engine_uses_our_names_and_has_somewhere_to_ask(engine):
    assert set(engine.gauges) <= OURS
    assert engine.metrics_path is not None


@pytest.mark.parametrize("engine", REAL, ids=named)
def test_every_metric_is_in_the_snapshot(engine):
    texts = sorted(SNAPSHOTS.glob(f"{engine.name}-*.txt"))
    assert texts, f"no snapshot of {engine.name}"
    for path in texts:
        check(engine, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "tokens"), [("vllm", 61), ("llamacpp", 61)])
def test_the_snapshots_count_the_tokens_that_were_asked_for(name, tokens):
    """Three answers of 20 and the one token that proved the server ready."""
    (path,) = SNAPSHOTS.glob(f"{name}-*.txt")
    found = picked(path.read_text(encoding="utf-8"), engines()[name].gauges)
    assert found["generation_tokens"] == tokens
    assert found["running"] == found["waiting"] == 0


@pytest.mark.engines
@pytest.mark.parametrize("engine", REAL, ids=named)
def test_the_real_server_still_has_them(engine, tmp_path):
    available = engine.probe()
    if not available.available:
        pytest.skip(f"missing: {engine.name} ({available.reason})")
    recipe = next(r for r in recipes().values() if r.name in CHEAP and r.format in engine.formats)
    artefact = store.artefact(source.resolve("tiny"), recipe)
    options = ServeOptions(port=0, users=1, context_tokens=128, eager=True)
    prepared = prepare(engine, recipe, artefact, options)
    log = tmp_path / "server.log"
    with running(engine, artefact, prepared.spec, prepared.flags, log=log) as server:
        url = f"{server.root_url}{engine.metrics_path}"
        text = urllib.request.urlopen(url, timeout=30).read().decode()
    check(engine, text)
