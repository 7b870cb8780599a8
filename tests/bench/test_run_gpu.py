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

MATRIX = Matrix(
    name="gpu",
    model="none",
    scenario="smoke",
    users=(1,),
    variants=(Variant(engine="scripted", quant="none", model="none"),),
    warmup_s=0.2,
    duration_s=0.5,
)


def measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch, device: str, nvml: FakeNvml, later_bytes: int
) -> dict[str, Any]:
    """The manifest of a cell said to be on `device`, of a GPU that fills after the first look."""

    def on_device(*arguments: Any, **more: Any) -> Prepared:
        made = prepare(*arguments, **more)
        return dataclasses.replace(made, spec=dataclasses.replace(made.spec, device=device))

    def occupied(_: Gpus) -> Vacancy:
        made = vacancy(Gpus.opened(lambda: nvml))
        nvml.gpus[0]["used"] = later_bytes
        return dataclasses.replace(made, patience_s=0.0)

    monkeypatch.setattr(run, "prepare", on_device)
    monkeypatch.setattr(run, "vacancy", occupied)
    done = run.run_matrix(MATRIX, folder, resume=False, base=ServeOptions(), say=lambda _: None)
    found = json.loads((done / "cells" / "scripted-none-u1" / "manifest.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_other_programs_are_named_in_cells_that_compute_on_their_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    nvml = FakeNvml(gpu(used=GIB, processes=[(77, GIB)]))
    manifest = measured(tmp_path / "run", monkeypatch, device, nvml, GIB)
    assert manifest["status"] == "ok"
    seen = {warning["name"]: warning["seen"] for warning in manifest["warnings"]}
    named = "pid 77 on GPU 0" in seen.get("gpu-not-exclusive", "")
    assert named == (device == "cuda")


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_nothing_is_measured_on_a_gpu_that_was_not_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    nvml = FakeNvml(gpu(used=GIB, processes=[(77, 8 * GIB)]))
    manifest = measured(tmp_path / "run", monkeypatch, device, nvml, 9 * GIB)
    assert manifest["status"] == ("failed" if device == "cuda" else "ok")
    if device == "cuda":
        assert "GPU 0 holds 8,192 MiB more" in manifest["reason"]
        assert "pid 77 on GPU 0" in manifest["reason"]
