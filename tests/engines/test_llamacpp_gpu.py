"""llama.cpp built for CUDA: a library that cannot load is noticed before the start, or after."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantswarm.engines import llamacpp, llamacpp_python
from quantswarm.engines.hardware import Host
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.models import store
from quantswarm.models.recipes import recipe_named

LDD = """\
#!/bin/sh
echo "	libcudart.so.13 => /usr/local/cuda/lib64/libcudart.so.13 (0x00007f0000000000)"
echo "	libcublas.so.13 => {where}"
"""


@pytest.fixture
def built(gpu_host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A build for CUDA on a host with a GPU; `ldd` is the test's."""
    folder = tmp_path / "build"
    folder.mkdir()
    for name in ("llama-server", "libggml-cuda.so", "libllama.so"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setenv("LLAMA_SERVER_BIN", str(folder / "llama-server"))
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(folder))
    monkeypatch.setattr(llamacpp_python, "installed", lambda *_: ("0.3.36", ""))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(llamacpp, "gpus_or_reason", lambda: (gpu_host.gpus, ""))
    return folder


def ldd_says(folder: Path, where: str) -> None:
    (folder / "ldd").write_text(LDD.format(where=where))
    (folder / "ldd").chmod(0o755)


@pytest.mark.parametrize("name", ["llamacpp", "llamacpp-python"])
def test_a_cuda_library_that_cannot_load_is_a_reason_not_to_start(built: Path, name: str) -> None:
    ldd_says(built, "not found")
    found = engine_named(name).probe()
    assert not found.available
    assert "libcublas.so.13" in found.reason
    assert "libcudart" not in found.reason
    assert "LD_LIBRARY_PATH" in found.cure


@pytest.mark.parametrize("where", ["/lib/libcublas.so.13 (0x00007f0000000000)", None])
def test_one_that_loads_or_cannot_be_asked_is_taken_as_it_is(
    built: Path, where: str | None
) -> None:
    if where is not None:
        ldd_says(built, where)
    found = engine_named("llamacpp").probe()
    assert (found.available, found.device) == (True, "cuda")


@pytest.mark.parametrize(
    ("device", "log", "warned"),
    [
        ("cuda", "load_tensors: offloaded 33/33 layers to GPU", False),
        ("cuda", "load_tensors: offloaded 0/33 layers to GPU", False),
        ("cuda", "warning: no usable GPU found, --gpu-layers option will be ignored", True),
        ("cpu", "", False),
    ],
)
def test_a_server_that_computes_on_the_cpu_all_the_same_is_named(
    device: str,
    log: str,
    warned: bool,
    gpu_host: Host,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path))
    monkeypatch.setattr(llamacpp, "server_binary", lambda: None)
    engine, recipe = engine_named("llamacpp"), recipe_named("q8_0")
    weights = store.planned("synthetic/7b", recipe)
    made = prepare(engine, recipe, weights, ServeOptions(), host=gpu_host, device=device)
    found = engine.remarks("q8_0", made.spec, log)
    assert [remark[0] for remark in found] == (["gpu-not-used"] if warned else [])
