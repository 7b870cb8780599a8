"""PyTorch is answered for instruction sets that built our library, and asks about any other."""

from __future__ import annotations

import pytest

from quantswarm.engines.vllm_cpu import build, compiler_flags

torch = pytest.importorskip("torch")
GCC = "c++ (Debian 12.2.0-14) 12.2.0"


class Isa:
    def __init__(self, flags):
        self.flags, self.asked = flags, []

    def build_arch_flags(self):
        return self.flags


@pytest.fixture
def asking(monkeypatch):
    """PyTorch's class with a question that is counted; what was said of the compiler's version."""
    from torch._inductor import cpu_vec_isa

    asked = []

    def check_build(self, code):
        asked.append((self.flags, code))
        return False

    monkeypatch.setattr(cpu_vec_isa.VecISA, "check_build", check_build)
    return cpu_vec_isa.VecISA, asked


@pytest.mark.parametrize("flags", ["-mavx2 -mfma -mf16c", "-mavx512f -mamx-tile -mamx-int8"])
def test_flags_that_built_our_library_are_not_asked_again(asking, monkeypatch, flags):
    monkeypatch.setattr(compiler_flags, "_same", lambda said: said == GCC)
    isa, asked = asking
    compiler_flags.install(GCC)
    compiler_flags.install(GCC)
    assert isa.check_build(Isa(flags), "code") is True
    assert not asked


def test_any_other_flag_is(asking, monkeypatch):
    monkeypatch.setattr(compiler_flags, "_same", lambda said: True)
    isa, asked = asking
    compiler_flags.install(GCC)
    assert isa.check_build(Isa("-mavx512f -mamx-fp16"), "code") is False
    assert asked == [("-mavx512f -mamx-fp16", "code")]


def test_another_compiler_is_asked_everything(asking, monkeypatch, tmp_path):
    program = tmp_path / "cxx"
    program.write_text("#!/bin/sh\necho 'g++ (Debian 9.1.0-1) 9.1.0'\n")
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    isa, asked = asking
    compiler_flags.install(GCC)
    assert isa.check_build(Isa("-mavx2"), "code") is False
    assert asked


def test_the_name_it_was_called_by_does_not_matter(asking, monkeypatch, tmp_path):
    program = tmp_path / "cxx"
    program.write_text(f"#!/bin/sh\necho '{GCC.replace('c++', 'g++')}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    isa, _ = asking
    compiler_flags.install(GCC)
    assert isa.check_build(Isa("-mavx2"), "code") is True


@pytest.mark.parametrize("said", ["", "g++"])
def test_an_unknown_compiler_is_asked(said, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    assert not compiler_flags._same(said)


def test_pytorch_asks_for_nothing_else_where_every_set_of_ours_is_used():
    """All but the newest extension of AMX; if PyTorch adds one, the start is slower, not wrong."""
    from torch._inductor import cpu_vec_isa as known

    for isa in (known.VecAVX2(), known.VecAVX512(), known.VecAVX512VNNI(), known.VecAMX()):
        assert compiler_flags.wanted(isa.build_arch_flags()) <= build.flags(), str(isa)
