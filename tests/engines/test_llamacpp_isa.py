"""llama.cpp with AVX2 alone: a folder of its own, a command that shows it, a log that proves it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quantswarm.engines import hardware, llamacpp, llamacpp_isa
from quantswarm.engines.hardware import Host
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.engines.server import running
from quantswarm.models import source, store
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import UnsupportedPair, UserMistake
from quantswarm.models.recipes import recipe_named

HOST = Host(
    cpu="A CPU",
    isa=("avx2", "avx512f"),
    cores=(0, 1),
    core_groups=((0,), (1,)),
    memory_bytes=2**34,
    no_gpu_reason="none",
)
WEIGHTS = Artefact(
    path=Path("model.gguf"),
    format="gguf",
    model="tiny",
    quant="q8_0",
    weights_bytes=0,
    sha256="",
    tokenizer=None,
    context_tokens=512,
    random_weights=False,
)


@pytest.fixture
def binary(tmp_path, monkeypatch) -> Path:
    """A build for two instruction sets, found through a link as set-up's is."""
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path / "home"))
    real = tmp_path / "build" / "bin"
    real.mkdir(parents=True)
    for name in ("haswell", "zen4"):
        (real / f"libggml-cpu-{name}.so").write_text(name)
    (real / "libllama.so.0.5").write_text("")
    (real / "libllama.so.0").symlink_to("libllama.so.0.5")
    (real / "llama-server").write_text("#!/bin/sh\n")
    (real / "llama-server").chmod(0o755)
    (tmp_path / "current").symlink_to(real)
    program: Path = tmp_path / "current" / "llama-server"
    monkeypatch.setenv("LLAMA_SERVER_BIN", str(program))
    return program


def made(**options):
    asked = ServeOptions(engine_options=options)
    engine = engine_named("llamacpp")
    return prepare(engine, recipe_named("q8_0"), WEIGHTS, asked, host=HOST, device="cpu")


def test_only_the_library_for_avx2_lies_beside_the_copy(binary):
    program = llamacpp_isa.make(binary)
    assert program == llamacpp_isa.place(binary)
    assert not program.is_symlink()
    assert os.access(program, os.X_OK)
    beside = {path.name for path in program.parent.iterdir()} - {"seal.json"}
    assert beside == {
        *("llama-server", "libggml-cpu-haswell.so", "libllama.so.0", "libllama.so.0.5")
    }
    before = program.stat().st_mtime_ns, program.parent.stat().st_ino
    assert llamacpp_isa.make(binary) == program
    assert (program.stat().st_mtime_ns, program.parent.stat().st_ino) == before


def test_another_build_is_another_folder_and_damage_is_mended(binary):
    first = llamacpp_isa.make(binary)
    (first.parent / "libllama.so.0").unlink()
    assert (llamacpp_isa.make(binary).parent / "libllama.so.0").exists()
    binary.write_text("#!/bin/sh\nexit 1\n")
    second = llamacpp_isa.make(binary)
    assert second != first
    assert second.read_text().endswith("exit 1\n")


def test_the_command_makes_nothing_and_says_why(binary, tmp_path):
    plain, capped = made().command, made(isa="avx2").command
    assert plain.argv[0] == str(binary)
    assert capped.argv[0] == str(llamacpp_isa.place(binary))
    assert capped.argv[1:4] == plain.argv[1:4]
    assert "avx2 was asked for" in capped.reasons["isa"]
    assert not (tmp_path / "home").exists()


def test_the_folder_is_made_just_before_the_start(binary):
    engine = engine_named("llamacpp")
    engine.make_ready(made().spec)
    assert not llamacpp_isa.place(binary).exists()
    engine.make_ready(made(isa="avx2").spec)
    assert llamacpp_isa.place(binary).exists()


def test_a_build_without_code_for_avx2_is_refused(binary):
    (binary.parent / "libggml-cpu-haswell.so").unlink()
    with pytest.raises(UnsupportedPair, match=r"no libggml-cpu-haswell\.so") as caught:
        made(isa="avx2")
    assert "libggml-cpu-zen4.so" in caught.value.evidence
    assert "unset LLAMA_SERVER_BIN" in caught.value.next_step
    assert made().command.argv[0] == str(binary)
    (binary.parent / "libggml-cpu-zen4.so").unlink()
    with pytest.raises(UnsupportedPair, match="built into the program"):
        llamacpp_isa.make(binary)


@pytest.mark.usefixtures("binary")
def test_other_instruction_sets_cannot_be_forced():
    with pytest.raises(UserMistake, match="only avx2"):
        made(isa="avx512")


def test_a_build_held_down_on_purpose_is_no_narrow_build(binary):
    (binary.parent / "libggml-cpu-zen4.so").unlink()
    assert [one["name"] for one in made().warnings] == ["narrow-build"]
    assert made(isa="avx2").warnings == ()


@pytest.mark.engines
def test_the_log_proves_it(tmp_path, monkeypatch):
    binary = llamacpp.server_binary()
    if binary is None or not (binary.resolve().parent / llamacpp_isa.LIBRARY).is_file():
        pytest.skip("no llama-server with a library for AVX2 is here: make setup builds it")
    if "avx2" not in hardware.host().isa:
        pytest.skip("this CPU has no AVX2")
    monkeypatch.setenv("LLAMA_SERVER_BIN", str(binary))
    weights = store.artefact(source.resolve("tiny"), recipe_named("q8_0"))
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path))
    engine = engine_named("llamacpp")
    options = ServeOptions(port=0, users=1, context_tokens=256, engine_options={"isa": "avx2"})
    prepared = prepare(engine, recipe_named("q8_0"), weights, options)
    log = tmp_path / "server.log"
    with running(engine, weights, prepared.spec, prepared.flags, log=log) as server:
        kernels = engine.kernels(server.log.read_text())
    assert "libggml-cpu-haswell.so" in kernels
    assert [name for name in kernels if name.startswith("libggml-cpu")] == [llamacpp_isa.LIBRARY]
    assert not any("AVX512" in name or "AMX" in name for name in kernels)
