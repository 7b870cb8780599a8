from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from quantswarm.models import safetensors_file, shapes, source, space, synthetic
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import NoSpace, UnknownName
from quantswarm.models.synthetic_tokenizer import visible

LLAMAS = [shape for shape in shapes.SHAPES.values() if isinstance(shape, shapes.Shape)]


@pytest.mark.parametrize("shape", LLAMAS, ids=lambda shape: shape.name)
def test_dimensions_fit_every_format(shape: shapes.Shape) -> None:
    for name, (outputs, inputs) in shape.matrices():
        assert inputs % 256 == 0, name
        assert outputs % 64 == 0, name
    assert shape.head_size in (64, 128)
    assert shape.heads % shape.kv_heads == 0


@pytest.mark.parametrize(
    ("name", "billions"), [("0.1b", 0.1), ("0.25b", 0.25), ("0.5b", 0.5), ("1b", 1.4), ("7b", 7.2)]
)
def test_shapes_have_about_the_parameters_of_their_name(name: str, billions: float) -> None:
    assert shapes.SHAPES[name].parameters == pytest.approx(billions * 1e9, rel=0.12)


def test_a_mistyped_shape_names_near_misses() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean synthetic/0\.5b"):
        source.resolve("synthetic/0.5")


def test_what_is_planned_is_what_is_made(micro: ModelSource) -> None:
    assert micro.random_weights
    assert micro.parameters == sum(
        entry.elements
        for shard in (micro.folder or Path()).glob("*.safetensors")
        for entry in safetensors_file.entries(shard)
    )


@pytest.mark.usefixtures("_micro_shape")
def test_two_homes_get_the_same_bytes(
    micro: ModelSource, quantswarm_home: Path, tiny_folder: Path
) -> None:
    again = source.resolve("synthetic/micro")
    assert again.fingerprint == micro.fingerprint
    assert again.folder is not None
    assert micro.folder is not None
    assert again.folder.is_relative_to(quantswarm_home)
    for path in micro.folder.iterdir():
        if path.name != "seal.json":
            assert path.read_bytes() == (again.folder / path.name).read_bytes()


def test_weights_are_small_never_zero_and_exact_in_float16() -> None:
    bits = synthetic.random_bfloat16(np.random.default_rng(0), 64, 256)
    values = safetensors_file.as_float32(bits, "BF16")
    assert np.abs(values).min() >= 2.0**-7
    assert np.abs(values).max() < 2.0**-5
    assert abs(values.mean()) < 1e-3
    assert np.sqrt((values**2).mean()) == pytest.approx(0.0189, rel=0.02)
    assert np.array_equal(values.astype(np.float16).astype(np.float32), values)


def test_greedy_decoding_can_only_pick_visible_ascii(micro: ModelSource) -> None:
    assert micro.folder is not None
    (shard,) = micro.folder.glob("*.safetensors")
    head = next(e for e in safetensors_file.entries(shard) if e.name == "lm_head.weight")
    speaking = np.flatnonzero(safetensors_file.read_raw(head).any(axis=1))
    tokenizer = Tokenizer.from_file(str(micro.tokenizer))
    assert tokenizer.get_vocab_size() == 2304
    assert len(speaking) > 1500
    for number in speaking.tolist():
        text = tokenizer.decode([number], skip_special_tokens=False)
        assert text.isascii()
        assert text.isprintable()
        assert text.strip()
    ids = json.loads((micro.folder / "config.json").read_text())["eos_token_id"]
    assert not set(ids) & set(speaking.tolist())


def test_the_grown_tokenizer_gives_back_every_text(micro: ModelSource) -> None:
    tokenizer = Tokenizer.from_file(str(micro.tokenizer))
    for text in ("def f(x): return x", "naïve 数学 🦙", "  a\n\n\tb", "AaBbCc"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize(
    ("token", "shown"), [("Ġthe", True), ("Ġ", False), ("ĊĊ", False), ("Ã©", False), ("x", True)]
)
def test_visible(token: str, shown: bool) -> None:
    assert visible(token) is shown


@pytest.mark.usefixtures("_micro_shape")
def test_too_little_disk_is_said_with_numbers_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, quantswarm_home: Path
) -> None:
    class Usage:
        free = 2**20

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(NoSpace, match=r"needs 3 MiB of disk, 1 MiB are free"):
        source.resolve("synthetic/micro")
    assert not [path for path in (quantswarm_home / "models").iterdir() if path.is_dir()]


@pytest.mark.usefixtures("_micro_shape")
def test_too_little_memory_is_said_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "available_memory_bytes", lambda: 100 * 2**20)
    with pytest.raises(NoSpace, match=r"needs 512 MiB of memory, 100 MiB are available"):
        source.resolve("synthetic/micro")


def test_large_models_are_cut_into_shards_that_cover_all() -> None:
    shards = synthetic._in_shards(shapes.SHAPES["7b"])
    assert len(shards) == 4
    names = [name for shard in shards for name, _ in shard]
    assert len(names) == len(set(names)) == 32 * 9 + 3
