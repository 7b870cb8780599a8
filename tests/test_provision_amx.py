"""GCC 12.2 loses most of an AMX tile configuration; the build of llama.cpp cures that."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from quantswarm.engines.provision import llamacpp_build as build
from quantswarm.engines.provision.environment import HERE

SOURCE = """
#include <immintrin.h>
void configure() {
    alignas(64) unsigned char tiles[64] = {};
    tiles[63] = 0x5a;
    _tile_loadconfig(tiles);
}
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="AMX is an extension of x86-64")
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")
def test_the_whole_tile_configuration_is_written(tmp_path: Path) -> None:
    (tmp_path / "tiles.cpp").write_text(SOURCE)
    mended = ("-include", str(HERE / "amx_tile_config.h"))
    command = ("g++", "-O2", "-mamx-tile", *mended, "-S", "-o", "-", "tiles.cpp")
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "ldtilecfg" in made.stdout
    assert "$90" in made.stdout, "the last byte of the configuration was optimized away"


def test_a_changed_header_is_another_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = build.Recipe(flags=(), targets=(), variants=())
    before = recipe.name
    for name in (build.CMAKE_HOOK, "amx_tile_config.h"):
        (tmp_path / name).write_text((HERE / name).read_text() + "\n")
    monkeypatch.setattr(build, "HERE", tmp_path)
    assert recipe.name != before
