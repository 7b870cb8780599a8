"""A quantization from its recipe to a sealed checkpoint; the libraries are played by a stub."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantswarm.models import hf_folder, source, space, store
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import BuildFailed, NoSpace, NotAvailable, UnsupportedPair
from quantswarm.models.quantize import build, child, driver, finish
from quantswarm.models.quantize.settings import VARIABLE, Settings
from quantswarm.models.quantize.tensors import Checkpoint
from quantswarm.models.recipes import recipe_named

METHODS = pytest.mark.parametrize("quant", ["gptq", "awq", "int8", "fp8", "w4a16"])
FEW = "rows=2 tokens=16"


@pytest.fixture(autouse=True)
def _few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, FEW)


def left(home: Path) -> list[str]:
    folder = home / "artefacts"
    return [path.name for path in folder.iterdir() if path.is_dir()] if folder.exists() else []


def quantization_config(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text())["quantization_config"]


@METHODS
@pytest.mark.usefixtures("quantizers")
def test_a_checkpoint_is_the_original_but_for_its_matrices(micro: ModelSource, quant: str) -> None:
    made = store.artefact(micro, recipe_named(quant))
    assert micro.folder is not None
    before = Checkpoint(hf_folder.inspect(micro.folder, "before"))
    after = Checkpoint(hf_folder.inspect(made.path, "after"))
    config = {k: v for k, v in after.config.items() if k != "quantization_config"}
    assert config == before.config
    assert (made.path / "tokenizer.json").read_bytes() == (
        micro.folder / "tokenizer.json"
    ).read_bytes()
    for name in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"):
        assert after.entries[name].dtype == before.entries[name].dtype
        assert np.array_equal(after.raw(name), before.raw(name))
    assert made.weights_bytes < 0.95 * 2 * micro.parameters  # most of it is embedding


@METHODS
@pytest.mark.usefixtures("quantizers")
def test_provenance_lies_beside_the_weights(micro: ModelSource, quant: str) -> None:
    made = store.artefact(micro, recipe_named(quant))
    told = json.loads((made.path / finish.PROVENANCE).read_text())
    assert told["method"] == quant
    assert told["versions"] == {"stub": "1"}
    assert len(told["layers"]) == 7
    for layer in told["layers"]:
        assert layer["relative_error"] == pytest.approx(layer["nearest_error"], rel=0.05)
    if quant in ("gptq", "awq"):
        assert told["settings"]["rows"] == 2
        assert len(told["calibration"]["sha256"]) == 64
        assert "Python" in told["calibration"]["origin"]
    else:
        assert told["calibration"] is None


@METHODS
@pytest.mark.usefixtures("quantizers")
def test_what_was_made_is_recognised(micro: ModelSource, quant: str) -> None:
    made = store.artefact(micro, recipe_named(quant))
    again = source.resolve(str(made.path))
    assert again.quantized is not None
    assert again.quantized.quant == quant
    served = store.artefact(again, recipe_named(quant))
    assert served.path == made.path
    assert served.sha256 == made.sha256


@pytest.mark.usefixtures("quantizers")
def test_configs_are_those_that_engines_know(
    micro: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"{FEW} group_size=32")
    gptq = quantization_config(store.artefact(micro, recipe_named("gptq")).path)
    assert (gptq["quant_method"], gptq["bits"], gptq["group_size"]) == ("gptq", 4, 32)
    assert gptq["sym"] is True
    awq = quantization_config(store.artefact(micro, recipe_named("awq")).path)
    assert {name: awq[name] for name in ("quant_method", "bits", "group_size", "version")} == {
        "quant_method": "awq",
        "bits": 4,
        "group_size": 32,
        "version": "gemm",
    }
    assert awq["zero_point"] is True


@METHODS
def test_without_its_environment_the_cure_is_named(
    micro: ModelSource, quantswarm_home: Path, quant: str
) -> None:
    with pytest.raises(NotAvailable, match="make setup"):
        store.artefact(micro, recipe_named(quant))
    assert left(quantswarm_home) == []


@pytest.mark.usefixtures("quantizers")
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("dies", "out of patience"),
        ("silent", "ended with status 0"),
        ("killed", "was killed, by the kernel"),
        ("nan", "relative error nan"),
        ("doubled", "something else than asked for"),
    ],
)
def test_a_failure_is_told_and_leaves_nothing(
    micro: ModelSource,
    quantswarm_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    words: str,
) -> None:
    monkeypatch.setenv("QUANTIZER_FAULT", fault)
    with pytest.raises(BuildFailed, match=words) as caught:
        store.artefact(micro, recipe_named("gptq"))
    assert left(quantswarm_home) == []
    logs = list((quantswarm_home / "quantizers" / "logs").iterdir())
    if fault in ("dies", "silent", "killed"):
        assert str(logs[0]) in caught.value.evidence
        assert "quantizing model.layers.2" in logs[0].read_text()
        assert "\x1b" not in logs[0].read_text()
    else:
        assert logs == []


@pytest.mark.usefixtures("quantizers")
def test_too_little_memory_is_refused_before(
    micro: ModelSource, monkeypatch: pytest.MonkeyPatch, quantswarm_home: Path
) -> None:
    monkeypatch.setattr(space, "available_memory_bytes", lambda: 2**20)
    monkeypatch.setattr(child, "quantize", lambda *_, **__: pytest.fail("it was started"))
    with pytest.raises(NoSpace, match="of memory"):
        store.artefact(micro, recipe_named("awq"))
    assert left(quantswarm_home) == []


def test_groups_that_do_not_divide_are_refused_before(micro_folder: Path) -> None:
    original = hf_folder.inspect(micro_folder, "test")
    method = build.Method(name="gptq", calibrated=True, grouped=True)
    with pytest.raises(UnsupportedPair, match=r"256 inputs .* groups of 96 do not divide"):
        build.require_fitting(original, method, Settings(group_size=96), "gptq of test")
    build.require_fitting(original, method, Settings(group_size=128), "gptq of test")


@pytest.mark.usefixtures("quantizers")
def test_weights_that_nothing_could_load_are_not_made(
    micro: ModelSource, monkeypatch: pytest.MonkeyPatch, quantswarm_home: Path
) -> None:
    monkeypatch.setenv(VARIABLE, f"{FEW} symmetric=no")
    monkeypatch.setattr(child, "quantize", lambda *_, **__: pytest.fail("it was started"))
    with pytest.raises(UnsupportedPair, match="no GPTQ weights with zero points"):
        store.artefact(micro, recipe_named("gptq"))
    assert left(quantswarm_home) == []


def test_a_gguf_is_not_quantized_from(micro: ModelSource, tmp_path: Path) -> None:
    from quantswarm.models.gguf_convert import convert

    assert micro.folder is not None
    convert(micro.folder, tmp_path / "micro.gguf", "micro")
    with pytest.raises(UnsupportedPair, match="GGUF"):
        store.artefact(source.resolve(str(tmp_path / "micro.gguf")), recipe_named("awq"))


# Interruptions


BUILD = """
import sys
from quantswarm.models import source, store
from quantswarm.models.recipes import recipe_named
store.artefact(source.resolve(sys.argv[1]), recipe_named("gptq"))
"""


@pytest.mark.usefixtures("quantizers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_no_process_and_nothing_half_made(
    micro: ModelSource, quantswarm_home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    waiting = tmp_path / "waiting"
    env = {**os.environ, "QUANTIZER_FAULT": f"waits:{waiting}"}
    argv = [sys.executable, "-c", BUILD, str(micro.folder)]
    process = subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: waiting.exists() and waiting.read_text() != "")
        process.send_signal(number)
        process.wait(30)
    finally:
        process.kill()
    pid = int(waiting.read_text())
    if number == signal.SIGINT:
        wait_until(lambda: not alive(pid))
        assert left(quantswarm_home) == []
    else:
        # The stub does not call `die_with`; the real driver does, and has its own test.
        os.kill(pid, signal.SIGKILL)
        store.artefact(micro, recipe_named("gptq"))
        assert len(left(quantswarm_home)) == 1


def test_the_driver_dies_with_its_parent(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    code = (
        "import importlib.util, json, os, subprocess, sys, time\n"
        "inner = 'import importlib.util, os, sys, time;'\\\n"
        "  's = importlib.util.spec_from_file_location(\"d\", sys.argv[1]);'\\\n"
        "  'd = importlib.util.module_from_spec(s); s.loader.exec_module(d);'\\\n"
        "  'd.die_with(int(sys.argv[2])); print(os.getpid(), flush=True); time.sleep(600)'\n"
        "subprocess.run([sys.executable, '-c', inner, sys.argv[1], str(os.getpid())])\n"
    )
    argv = [sys.executable, "-c", code, str(driver.__file__)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        wait_until(lambda: not alive(pid))
    assert not plan.exists()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait_until(true: Any, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# What the user hears


def test_layers_are_told_at_a_humane_rate() -> None:
    said: list[str] = []
    now = [0.0]
    told = child.Telling("gptq of x", 4, say=said.append, clock=lambda: now[0])
    for second in range(60):
        now[0] = float(second)
        told.heard(f"quantizing model.layers.{min(second // 10, 3)}.mlp" if second % 2 else "")
    assert said[0] == "gptq of x: started"
    assert said[1:] == [
        "gptq of x: layer 2 of 4, 0:15 gone",
        "gptq of x: layer 3 of 4, 0:30 gone",
        "gptq of x: layer 4 of 4, 0:45 gone",
    ]


def test_a_list_of_all_layers_is_no_progress() -> None:
    said: list[str] = []
    now = [0.0]
    told = child.Telling("x", 8, say=said.append, clock=lambda: now[0])
    told.heard("model.layers.7 model.layers.6")
    now[0] = 20.0
    told.heard("")
    assert said[-1] == "x: 0:20 gone"
