from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path

import pytest

from quantswarm.models import gguf_file, gguf_tools, source, store
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import BuildFailed, NotAvailable, UnsupportedPair
from quantswarm.models.gguf_convert import convert
from quantswarm.models.recipes import Recipe, recipe_named, recipes

FAKE_QUANTIZE = """#!{python}
import sys
data = bytearray(open(sys.argv[-4], "rb").read())
key = b"general.file_type"
at = data.index(key) + len(key) + 4
types = {types}
data[at] = types[sys.argv[-2]]
open(sys.argv[-3], "wb").write(data)
"""
FAKE_IMATRIX = """#!{python}
import sys
open(sys.argv[sys.argv.index("-o") + 1], "wb").write(open(sys.argv[4], "rb").read())
"""
TYPES = {name.removesuffix("-gguf").upper(): number for number, name in gguf_file.QUANTS.items()}


@pytest.fixture
def fake_quantize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A llama-quantize that copies the file and changes the type in its header; beside it a
    llama-imatrix that copies its text."""
    path = tmp_path / "llama-quantize"
    path.write_text(FAKE_QUANTIZE.format(python=sys.executable, types=TYPES))
    matrix = path.with_name("llama-imatrix")
    matrix.write_text(FAKE_IMATRIX.format(python=sys.executable))
    for program in (path, matrix):
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("LLAMA_QUANTIZE_BIN", str(path))
    return path


def gguf_of_type(micro: ModelSource, path: Path, number: int) -> ModelSource:
    assert micro.folder is not None
    convert(micro.folder, path, "micro")
    data = bytearray(path.read_bytes())
    key = b"general.file_type"
    data[data.index(key) + len(key) + 4] = number
    path.write_bytes(bytes(data))
    return source.resolve(str(path))


def test_home_is_the_variable_or_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSWARM_HOME", "~/somewhere")
    assert store.home() == Path.home() / "somewhere"
    monkeypatch.delenv("QUANTSWARM_HOME")
    assert store.home() == Path.home() / ".cache" / "quantswarm"


@pytest.mark.parametrize("name", sorted(recipes()))
@pytest.mark.usefixtures("fake_quantize", "quantizers", "_micro_shape")
def test_every_recipe_keeps_its_plan(micro: ModelSource, name: str) -> None:
    recipe = recipe_named(name)
    plan = store.planned("synthetic/micro", recipe)
    made = store.artefact(source.resolve("synthetic/micro"), recipe)
    assert (plan.path, plan.format, plan.quant) == (made.path, made.format, made.quant)
    assert made.path.exists()
    assert made.weights_bytes > 1_000_000
    assert len(made.sha256) == 64
    assert made.random_weights
    assert store.planned("synthetic/micro", recipe) == made


def test_originals_are_not_copied(micro: ModelSource, quantswarm_home: Path) -> None:
    made = store.artefact(micro, recipe_named("bf16"))
    assert made.path == micro.folder
    assert made.weights_bytes == 2 * micro.parameters + len(_header(made.path))
    files = [path for path in quantswarm_home.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10_000


def _header(folder: Path) -> bytes:
    (shard,) = folder.glob("*.safetensors")
    content = shard.read_bytes()
    return content[: 8 + int.from_bytes(content[:8], "little")]


def test_the_sha256_of_one_file_is_the_files_own(micro: ModelSource) -> None:
    made = store.artefact(micro, recipe_named("f16"))
    assert made.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert made.path.suffix == ".gguf"


@pytest.mark.usefixtures("fake_quantize")
def test_the_f16_file_is_made_once_for_all_recipes(
    micro: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quantswarm.models import gguf_convert

    calls = []

    def counted(*given: object) -> None:
        calls.append(given)
        convert(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(gguf_convert, "convert", counted)
    for name in ("q4_0", "int4", "q8_0", "f16", "q4_0"):
        store.artefact(micro, recipe_named(name))
    assert len(calls) == 1


def test_a_truncated_artefact_is_built_again(
    micro: ModelSource, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_named("f16")
    made = store.artefact(micro, recipe)
    os.truncate(made.path, made.weights_bytes - 1)
    assert store.artefact(micro, recipe) == made
    assert "building it again" in capsys.readouterr().err
    assert made.path.stat().st_size == made.weights_bytes


def test_scratch_files_of_a_recipe_are_not_kept(micro: ModelSource) -> None:
    def build(model: ModelSource, workdir: Path) -> Path:
        (workdir / "log").write_text("x")
        (workdir / "out").mkdir()
        (workdir / "out" / "model.safetensors").write_text("weights")
        return workdir / "out"

    made = store.artefact(micro, Recipe(name="new", format="safetensors", summary="", build=build))
    assert made.path.name == "model"
    assert [path.name for path in made.path.iterdir()] == ["model.safetensors"]
    assert made.weights_bytes == 7
    assert sorted(path.name for path in made.path.parent.iterdir()) == ["model", "seal.json"]


def test_a_missing_quantizer_names_the_cure_before_converting(
    micro: ModelSource, monkeypatch: pytest.MonkeyPatch, quantswarm_home: Path
) -> None:
    monkeypatch.delenv("LLAMA_QUANTIZE_BIN", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotAvailable, match="make setup"):
        store.artefact(micro, recipe_named("q4_0"))
    assert not [path for path in (quantswarm_home / "artefacts").iterdir() if path.is_dir()]


def test_a_wrong_variable_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_QUANTIZE_BIN", "/no/such/tool")
    with pytest.raises(NotAvailable, match="LLAMA_QUANTIZE_BIN"):
        gguf_tools.program("llama-quantize")


def test_the_quantizers_last_words_are_shown(micro: ModelSource, fake_quantize: Path) -> None:
    fake_quantize.write_text("#!/bin/sh\necho something is wrong >&2\nexit 3\n")
    with pytest.raises(BuildFailed, match="status 3") as caught:
        store.artefact(micro, recipe_named("q8_0"))
    assert "something is wrong" in str(caught.value)


def test_a_quantizer_that_makes_another_type_is_caught(
    micro: ModelSource, fake_quantize: Path
) -> None:
    fake_quantize.write_text("#!/bin/sh\ncp $1 $2\n")
    with pytest.raises(BuildFailed, match="made f16"):
        store.artefact(micro, recipe_named("q8_0"))


def test_a_gguf_of_the_type_is_served_as_it_is(micro: ModelSource, tmp_path: Path) -> None:
    mine = gguf_of_type(micro, tmp_path / "mine.gguf", 15)
    made = store.artefact(mine, recipe_named("int4"))
    assert made.path == tmp_path / "mine.gguf"
    assert made.weights_bytes == made.path.stat().st_size
    assert store.planned(str(made.path), recipe_named("q4_k_m")).path == made.path


@pytest.mark.usefixtures("fake_quantize")
@pytest.mark.parametrize(("number", "quant"), [(32, "f16"), (1, "q4_0"), (0, "q8_0")])
def test_a_wide_gguf_is_quantized(
    micro: ModelSource, tmp_path: Path, number: int, quant: str
) -> None:
    mine = gguf_of_type(micro, tmp_path / "mine.gguf", number)
    made = store.artefact(mine, recipe_named(quant))
    assert made.path != mine.gguf
    assert gguf_file.read(made.path).quant == quant


@pytest.mark.parametrize("quant", ["q8_0", "f16"])
def test_a_quantized_gguf_is_not_quantized_again(
    micro: ModelSource, tmp_path: Path, quant: str
) -> None:
    mine = gguf_of_type(micro, tmp_path / "mine.gguf", 15)
    with pytest.raises(UnsupportedPair, match="q4_k_m already"):
        store.artefact(mine, recipe_named(quant))


def test_a_gguf_has_no_safetensors(micro: ModelSource, tmp_path: Path) -> None:
    mine = gguf_of_type(micro, tmp_path / "mine.gguf", 1)
    with pytest.raises(UnsupportedPair, match="not converted back"):
        store.artefact(mine, recipe_named("fp32"))


def test_other_weights_under_the_same_name_get_their_own_artefact(
    micro_folder: Path, tmp_path: Path
) -> None:
    recipe = recipe_named("f16")
    first = store.artefact(source.resolve(str(micro_folder)), recipe)
    (shard,) = micro_folder.glob("*.safetensors")
    with shard.open("r+b") as out:
        out.seek(-2, 2)
        out.write(b"\x80\x3e")
    second = store.artefact(source.resolve(str(micro_folder)), recipe)
    assert first.model == second.model
    assert first.path != second.path
    assert first.sha256 != second.sha256
