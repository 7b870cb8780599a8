"""What a manifest holds of a server before it is measured, and of one that just answered."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from quantswarm.bench.selection import Selection
from quantswarm.bench.subject import planned_facts, served
from quantswarm.engines import vllm_products
from quantswarm.engines.hardware import Host
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.engines.server import Server
from quantswarm.models.artefact import Artefact
from quantswarm.models.recipes import recipe_named

HOST = Host(
    cpu="A CPU",
    isa=("avx2",),
    cores=(0, 1),
    core_groups=((0,), (1,)),
    memory_bytes=2**34,
    no_gpu_reason="none",
)
SCHEME = {"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True}


@pytest.fixture
def awq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Selection:
    """Planned weights in a folder whose config is there."""
    monkeypatch.setattr(vllm_products, "library", lambda: Path("kernels.so"))
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": SCHEME}))
    artefact = Artefact(
        path=tmp_path,
        format="awq",
        model="m",
        quant="awq",
        weights_bytes=0,
        sha256="",
        tokenizer=None,
        context_tokens=512,
        random_weights=False,
    )
    recipe = recipe_named("awq")
    return Selection(engine=engine_named("vllm"), recipe=recipe, artefact=artefact)


def prepared(selection: Selection, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(type(selection.engine), "require_servable", lambda *_: None)
    options = ServeOptions(users=2)
    chosen = selection.recipe, selection.artefact
    return prepare(selection.engine, *chosen, options, host=HOST, device="cpu")


def test_the_settings_of_the_quantization_are_kept(
    awq: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = planned_facts(awq, prepared(awq, monkeypatch))
    assert facts["quantization"] == {
        "source": "checkpoint",
        "method": "awq",
        "bits": 4,
        "group_size": 64,
        "symmetric": False,
    }


@pytest.mark.parametrize(
    ("kernel", "names"),
    [("QuantswarmW4A16LinearKernel", []), ("CPUWNA16LinearKernel", ["other-kernel"])],
)
def test_a_kernel_other_than_announced_is_among_its_warnings(
    awq: Selection,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kernel: str,
    names: list[str],
) -> None:
    log = tmp_path / "server.log"
    log.write_text(f"INFO Using {kernel} for AutoAWQMarlinLinearMethod\n")
    facts = {"base_url": "http://h/v1", "served_name": "m", "load_s": 1.0, "log": log}
    server = cast(Server, SimpleNamespace(**facts))
    subject = served(awq, prepared(awq, monkeypatch), server)
    assert [one["name"] for one in subject.warnings] == names
