"""Building the library: whole or absent, found again without a compiler."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantswarm.engines.vllm_cpu import build, settings
from quantswarm.models.errors import BuildFailed, NotAvailable, UnknownName

pytest.importorskip("torch")


def broken_compiler(folder: Path) -> str:
    """Answers --version, then fails on every file."""
    program = folder / "c++"
    program.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec echo broken 1.0\necho no >&2; exit 1\n'
    )
    program.chmod(0o755)
    return str(program)


def test_a_failed_build_leaves_nothing_and_says_what_failed(tmp_path):
    home = tmp_path / "home"
    with pytest.raises(BuildFailed, match="does not compile"):
        build.build(home, compiler=broken_compiler(tmp_path))
    assert not [path for path in (home / "vllm_cpu").iterdir() if path.is_dir()]
    assert build.find(home) is None


def test_without_a_compiler_it_says_what_serves_instead(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(NotAvailable, match="install g"):
        build.build(tmp_path)


def test_another_processor_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(NotAvailable, match="aarch64"):
        build.build(tmp_path)


def test_a_library_of_other_sources_is_not_found(library, monkeypatch):
    home = library.parents[2]
    assert build.find(home) == library
    monkeypatch.setattr(build, "sources_sha256", lambda: "other")
    assert build.find(home) is None


def test_every_source_has_its_flags():
    assert set(build.FILE_FLAGS) == {path.name for path in build.SOURCES.glob("*.cpp")}


def test_auto_falls_back_to_pytorch_where_nothing_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path))
    monkeypatch.delenv(settings.FOUR_BIT, raising=False)
    monkeypatch.delenv(settings.INT8, raising=False)
    assert settings.four_bit() == "torch"
    assert settings.int8() == "upstream"
    with pytest.raises(NotAvailable, match="make setup"):
        settings.library()


def test_auto_takes_the_library_and_int8_only_without_vnni(library, monkeypatch):
    monkeypatch.setattr(settings, "home", lambda: library.parents[2])
    monkeypatch.delenv(settings.FOUR_BIT, raising=False)
    monkeypatch.delenv(settings.INT8, raising=False)
    monkeypatch.setenv("QUANTSWARM_CPU_ISA", "avx2")
    assert (settings.four_bit(), settings.int8()) == ("w4a16", "exact")


@pytest.mark.parametrize("variable", [settings.FOUR_BIT, settings.INT8])
def test_a_mistyped_choice_names_the_others(variable, monkeypatch):
    monkeypatch.setenv(variable, "w4a61")
    with pytest.raises(UnknownName, match="upstream"):
        settings.four_bit() if variable == settings.FOUR_BIT else settings.int8()
