"""Real servers of the embedded model: each variant matches its own reference."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from quantswarm.bench import cli
from quantswarm.engines.registry import engine_named
from quantswarm.models import source

pytestmark = pytest.mark.engines
FORMATS_OF_VLLM = ("bf16", "fp32")


@pytest.fixture(scope="module")
def misturned(tmp_path_factory) -> Path:
    """The embedded model with a rope of another base: the same weights, wrongly computed."""
    folder: Path = tmp_path_factory.mktemp("other") / "tiny"
    shutil.copytree(source.tiny_folder(), folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "rope_theta": 20_000.0}))
    return folder


def verified(engine, capsys, *more):
    found = engine_named(engine).probe()
    if not found.available:
        pytest.skip(f"missing: {engine} ({found.reason})")
    code = cli.main(["verify", "--engine", engine, "--eager", "--json", *more])
    document = json.loads(capsys.readouterr().out)
    assert code == (0 if document["verdict"] == "matches" else 1)
    return document


@pytest.mark.parametrize("quant", ["f16", "q8_0", "q4_0", "q4_k_m", "q5_k_m"])
def test_llamacpp_computes_what_the_name_says(quant, capsys):
    found = verified("llamacpp", capsys, "--quant", quant)
    assert found["verdict"] == "matches"
    assert not {one["name"] for one in found["warnings"]} & {"not-quantized", "other-arithmetic"}
    if quant != "f16":
        original = found["references"][-1]
        assert original["name"] == "original"
        assert original["share"]["value"] < 0.3


@pytest.mark.parametrize("quant", FORMATS_OF_VLLM)
def test_vllm_computes_what_the_name_says(quant, capsys):
    found = verified("vllm", capsys, "--quant", quant)
    assert found["verdict"] == "matches"
    assert found["dtype"] == {"bf16": "bfloat16", "fp32": "float32"}[quant]
    assert found["error_by_part"]["prompt"]["values"] > 0
    assert found["error_by_part"]["generated"]["values"] > 0


def test_another_model_than_the_one_named_differs(misturned, capsys, tmp_path):
    """Text still looks like text, and neither speed nor memory would tell."""
    from quantswarm.bench.selection import select
    from quantswarm.engines.prepare import ServeOptions, prepare
    from quantswarm.engines.server import running

    if not engine_named("llamacpp").probe().available:
        pytest.skip("missing: llamacpp")
    chosen = select("llamacpp", "f16", str(misturned))
    prepared = prepare(chosen.engine, chosen.recipe, chosen.artefact, ServeOptions(port=0, users=1))
    log = tmp_path / "server.log"
    with running(chosen.engine, chosen.artefact, prepared.spec, prepared.flags, log=log) as up:
        words = ("verify", "--engine", "llamacpp", "--quant", "f16", "--url", up.base_url)
        assert cli.main([*words, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "differs"
    assert found["kernels"] is None
