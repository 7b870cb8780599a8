"""Variants that need hardware: left out by name where it is absent, measured where it is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench import needs, run
from quantswarm.bench.finish import finish
from quantswarm.bench.matrix import Matrix, Variant
from quantswarm.bench.rundir import keep_left_out, open_run
from quantswarm.engines import hardware
from quantswarm.engines.base import Availability
from quantswarm.engines.hardware import Gpu, Host
from quantswarm.engines.prepare import Prepared, ServeOptions, prepare
from quantswarm.engines.vllm import Vllm
from quantswarm.models.errors import NotAvailable

HERE = Variant(engine="scripted", quant="none", model="none", slots=3)
ELSEWHERE = Variant(engine="vllm", quant="fp16", model="tiny", label="on a GPU", needs="cuda")
BOARD = Gpu(index=0, name="Board", memory_bytes=2**34, driver="1", compute_capability="9.0")


def matrix(*variants: Variant) -> Matrix:
    return Matrix(
        name="m",
        model="none",
        scenario="smoke",
        users=(1,),
        variants=variants,
        warmup_s=0.2,
        duration_s=0.5,
    )


def host(*gpus: Gpu) -> Host:
    reason = "" if gpus else "no driver"
    return dataclasses.replace(hardware.host(), gpus=gpus, no_gpu_reason=reason)


def built_for(monkeypatch: pytest.MonkeyPatch, device: str, *, available: bool = True) -> None:
    found = Availability(available=available, device=device)
    monkeypatch.setattr(Vllm, "probe", lambda self: found)


def test_without_a_gpu_the_variant_says_why_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = needs.documents(needs.left_out(matrix(HERE, ELSEWHERE), host()))
    assert (entry["variant"], entry["needs"]) == ("on a GPU", "cuda")
    assert entry["sentence"] == (
        "on a GPU was not measured: it needs an NVIDIA GPU, and there is none (no driver);"
        " the same command measures it there."
    )


@pytest.mark.parametrize(
    ("device", "available", "out"), [("cuda", True, False), ("cpu", True, True), ("", False, False)]
)
def test_with_a_gpu_the_engine_must_be_built_for_it(
    monkeypatch: pytest.MonkeyPatch, device: str, available: bool, out: bool
) -> None:
    """An engine that is not installed is no matter of hardware: its cells fail with its reason."""
    built_for(monkeypatch, device, available=available)
    reason = needs.lacking(ELSEWHERE, host(BOARD))
    assert (reason is not None) == out
    if reason:
        assert "installed vllm computes on the CPU" in reason


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_cpus_figures_are_not_taken_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    built_for(monkeypatch, device)
    cpu = dataclasses.replace(ELSEWHERE, needs="cpu")
    assert needs.lacking(cpu, host()) is None
    reason = needs.lacking(cpu, host(BOARD))
    assert (reason is None) == (device == "cpu")
    if reason:
        assert "computes on the Board" in reason


def test_a_matrix_that_needs_a_gpu_for_everything_is_refused_without_one(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match="none of its variants can be measured here"):
        needs.left_out(matrix(ELSEWHERE), host())


def test_a_run_resumed_where_the_hardware_is_says_so(tmp_path: Path) -> None:
    folder = open_run(matrix(HERE, ELSEWHERE), tmp_path / "run", resume=False, host={})
    gone = needs.documents(needs.left_out(matrix(HERE, ELSEWHERE), host()))
    keep_left_out(folder, gone)
    assert json.loads((folder / "run.json").read_text())["left_out"] == gone
    keep_left_out(folder, [])
    assert json.loads((folder / "run.json").read_text())["left_out"] == []


def test_the_others_are_measured_and_the_report_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []

    def watched(*arguments: Any, **more: Any) -> Prepared:
        asked.append(arguments[3].users)
        return prepare(*arguments, **more)

    monkeypatch.setattr(run, "prepare", watched)
    monkeypatch.setattr(
        needs, "lacking", lambda variant, _: "needs more" if variant.needs else None
    )
    said: list[str] = []
    folder = run.run_matrix(
        matrix(HERE, ELSEWHERE),
        tmp_path / "run",
        resume=False,
        base=ServeOptions(),
        say=said.append,
    )
    assert asked == [3], "slots of the variant, not as many as the users"
    assert any("1 of 1 cells to measure" in line for line in said)
    summary, text = finish(folder, said.append)
    assert [cell["status"] for cell in summary["cells"]] == ["ok"]
    assert [entry["variant"] for entry in summary["left_out"]] == ["on a GPU"]
    for told in (text, (folder / "report.md").read_text(), (folder / "report.html").read_text()):
        assert "on a GPU was not measured: it needs more." in told
