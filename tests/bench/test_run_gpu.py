"""Before a server that computes on a GPU starts, it is looked at; the cell says what is odd."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench import run
from quantswarm.bench.matrix import Matrix, Variant
from quantswarm.engines.gpu import Gpus
from quantswarm.engines.gpu_vacancy import Vacancy, vacancy
from quantswarm.engines.prepare import Prepared, ServeOptions, prepare

sys.path.insert(0, str(Path(__file__).parents[1] / "engines" / "nvml"))

from fake_nvml import GIB, FakeNvml, gpu


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_gpu_that_is_not_empty_is_named_in_cells_that_compute_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    def on_device(*arguments: Any, **more: Any) -> Prepared:
        made = prepare(*arguments, **more)
        return dataclasses.replace(made, spec=dataclasses.replace(made.spec, device=device))

    def occupied(_: Gpus) -> Vacancy:
        nvml = FakeNvml(gpu(used=GIB, processes=[(77, GIB)]))
        made = vacancy(Gpus.opened(lambda: nvml))
        nvml.gpus[0]["used"] = 9 * GIB
        return dataclasses.replace(made, patience_s=0.0)

    monkeypatch.setattr(run, "prepare", on_device)
    monkeypatch.setattr(run, "vacancy", occupied)
    matrix = Matrix(
        name="gpu",
        model="none",
        scenario="smoke",
        users=(1,),
        variants=(Variant(engine="scripted", quant="none", model="none"),),
        warmup_s=0.2,
        duration_s=0.5,
    )
    folder = run.run_matrix(
        matrix, tmp_path / "run", resume=False, base=ServeOptions(), say=lambda _: None
    )
    manifest = json.loads((folder / "cells" / "scripted-none-u1" / "manifest.json").read_text())
    seen = {warning["name"]: warning["seen"] for warning in manifest["warnings"]}
    named = {"gpu-memory-not-freed", "gpu-not-exclusive"} & set(seen)
    assert named == ({"gpu-memory-not-freed", "gpu-not-exclusive"} if device == "cuda" else set())
    if device == "cuda":
        assert "GPU 0 holds 8,192 MiB more" in seen["gpu-memory-not-freed"]
