from __future__ import annotations

from pathlib import Path

import pytest

from quantswarm.models import source
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import BadFile, UnknownName
from quantswarm.models.gguf_convert import convert


def test_the_embedded_model_is_whole() -> None:
    tiny = source.resolve("tiny")
    assert 5_000_000 <= tiny.parameters <= 10_000_000
    assert tiny.context_tokens == 2048
    assert not tiny.random_weights
    assert tiny.tokenizer is not None
    assert tiny.tokenizer.name == "tokenizer.json"
    assert tiny == source.planned_source("tiny")


def test_a_local_folder_is_named_after_itself(micro_folder: Path) -> None:
    found = source.resolve(str(micro_folder))
    assert found.name == "model"
    assert found.folder == micro_folder


def test_the_fingerprint_follows_the_weights(micro_folder: Path) -> None:
    before = source.resolve(str(micro_folder)).fingerprint
    (shard,) = micro_folder.glob("*.safetensors")
    with shard.open("r+b") as out:
        out.seek(-2, 2)
        out.write(b"\x80\x3e")
    assert source.resolve(str(micro_folder)).fingerprint != before


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("config.json", "config.json is missing"),
        ("model-00001-of-00001.safetensors", "1 of 1 weight files are missing"),
    ],
)
def test_a_folder_with_a_missing_file_is_refused(
    micro_folder: Path, missing: str, words: str
) -> None:
    (micro_folder / missing).unlink()
    with pytest.raises(BadFile, match=words):
        source.resolve(str(micro_folder))


@pytest.mark.parametrize("content", ["", "{", "[1]", '"x"'])
def test_a_broken_config_is_refused(micro_folder: Path, content: str) -> None:
    (micro_folder / "config.json").write_text(content)
    with pytest.raises(BadFile, match=r"config\.json"):
        source.resolve(str(micro_folder))


def test_a_folder_of_other_weights_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_text("")
    with pytest.raises(BadFile, match=r"pytorch_model\.bin"):
        source.resolve(str(tmp_path))


def test_an_index_cannot_lead_out_of_its_folder(micro_folder: Path) -> None:
    index = micro_folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"x": "../other.safetensors"}}')
    with pytest.raises(BadFile, match="weight_map"):
        source.resolve(str(micro_folder))


def test_a_gguf_path_is_read_from_its_header(micro: ModelSource, tmp_path: Path) -> None:
    assert micro.folder is not None
    convert(micro.folder, tmp_path / "mine.gguf", "micro")
    found = source.resolve(str(tmp_path / "mine.gguf"))
    assert found.name == "mine"
    assert found.folder is None
    assert found.context_tokens == 512
    assert found.parameters == micro.parameters


def test_a_corrupt_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(BadFile, match="corrupt or truncated"):
        source.resolve(str(path))


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "none.gguf"])
def test_a_path_that_does_not_exist_is_said(name: str) -> None:
    with pytest.raises(BadFile, match="no such file or folder"):
        source.resolve(name)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_text("")
    with pytest.raises(BadFile, match=r"not a \.gguf"):
        source.resolve(str(tmp_path / "weights.pt"))


def test_a_mistyped_name_gets_near_misses() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean qwen2\.5-0\.5b-instruct") as caught:
        source.resolve("qwen2.5-0.5b-instuct")
    assert "tiny" in caught.value.choices
