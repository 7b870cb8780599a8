from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.models import gguf_convert, safetensors_file
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import BadFile, UnsupportedPair


def rotate_halves(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Hugging Face's rope: x [heads, size]; value i turns with value i + size/2."""
    first, second = np.split(x, 2, axis=-1)
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)


def rotate_pairs(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """llama.cpp's rope for Llama: value 2i turns with value 2i + 1."""
    even, odd = x[..., ::2], x[..., 1::2]
    cos, sin = np.cos(angles), np.sin(angles)
    turned = np.stack((even * cos - odd * sin, odd * cos + even * sin), axis=-1)
    return turned.reshape(x.shape)


@given(heads=st.integers(1, 6), half=st.integers(1, 8), seed=st.integers(0, 2**32 - 1))
def test_reordered_rows_make_both_ropes_agree(heads: int, half: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    size, inputs = 2 * half, 5
    weight = generator.normal(size=(heads * size, inputs))
    x, angles = generator.normal(size=inputs), generator.uniform(0, 7, size=half)
    theirs = rotate_halves((weight @ x).reshape(heads, size), angles)
    ours = rotate_pairs(
        (gguf_convert.to_rope_pairs(weight, heads) @ x).reshape(heads, size), angles
    )
    other = generator.normal(size=(heads * size, inputs))
    keys = rotate_halves((other @ x).reshape(heads, size), angles / 2)
    our_keys = rotate_pairs(
        (gguf_convert.to_rope_pairs(other, heads) @ x).reshape(heads, size), angles / 2
    )
    assert np.allclose((theirs * keys).sum(-1), (ours * our_keys).sum(-1))


@given(heads=st.integers(1, 8), half=st.integers(1, 16), columns=st.integers(1, 4))
def test_reordering_loses_no_row_and_can_be_undone(heads: int, half: int, columns: int) -> None:
    weight = np.arange(heads * 2 * half * columns).reshape(-1, columns)
    moved = gguf_convert.to_rope_pairs(weight, heads)
    back = moved.reshape(heads, half, 2, columns).swapaxes(1, 2).reshape(weight.shape)
    assert np.array_equal(back, weight)


@pytest.fixture
def converted(micro: ModelSource, tmp_path: Path) -> gguf.GGUFReader:
    assert micro.folder is not None
    gguf_convert.convert(micro.folder, tmp_path / "micro.gguf", "micro")
    return gguf.GGUFReader(tmp_path / "micro.gguf")


def test_every_tensor_arrives_with_its_values(
    converted: gguf.GGUFReader, micro: ModelSource
) -> None:
    assert micro.folder is not None
    found = {tensor.name: tensor for tensor in converted.tensors}
    (shard,) = micro.folder.glob("*.safetensors")
    entries = safetensors_file.entries(shard)
    assert len(found) == len(entries)
    for entry in entries:
        values = safetensors_file.as_float32(safetensors_file.read_raw(entry), entry.dtype)
        tensor = found[gguf_convert.gguf_name(entry.name, "test")]
        wide = tensor.data.astype(np.float32)
        assert tensor.data.dtype == (np.float32 if values.ndim == 1 else np.float16)
        if "q_proj" in entry.name or "k_proj" in entry.name:
            assert not np.array_equal(wide, values)
            assert np.array_equal(np.sort(wide, axis=0), np.sort(values, axis=0))
        else:
            assert np.array_equal(wide, values)


def test_the_header_says_what_llama_cpp_needs(converted: gguf.GGUFReader) -> None:
    values: dict[str, Any] = {key: field.contents() for key, field in converted.fields.items()}
    assert values["general.architecture"] == "llama"
    assert values["general.file_type"] == gguf.LlamaFileType.MOSTLY_F16
    assert values["llama.attention.head_count_kv"] == 2
    assert values["llama.rope.dimension_count"] == 64
    assert values["llama.rope.freq_base"] == 10_000.0
    assert values["tokenizer.ggml.pre"] == "gpt-2"
    assert values["tokenizer.ggml.add_bos_token"] is False
    assert values["tokenizer.ggml.add_eos_token"] is False
    assert len(values["tokenizer.ggml.tokens"]) == values["llama.vocab_size"] == 2304
    assert "<|assistant|>" in values["tokenizer.chat_template"]
    assert values["tokenizer.ggml.token_type"][:5] == [3, 3, 3, 3, 1]
    eot = values["tokenizer.ggml.eot_token_id"]
    assert values["tokenizer.ggml.tokens"][eot] == "<|end|>"
    assert not any(len(merge.split(" ")) != 2 for merge in values["tokenizer.ggml.merges"])


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["Qwen3ForCausalLM"]}, "Qwen3ForCausalLM"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 8.0}}, "linear"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "yarn"),
        ({"sliding_window": 4096}, "window"),
        ({"quantization_config": {"bits": 4}}, "quantized already"),
    ],
)
def test_what_the_converter_does_not_know_is_refused(
    micro_folder: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    edit_config(micro_folder, **changes)
    with pytest.raises(UnsupportedPair, match=words):
        gguf_convert.convert(micro_folder, tmp_path / "out.gguf", "x")
    assert not (tmp_path / "out.gguf").exists()


def test_an_unknown_tensor_is_refused() -> None:
    with pytest.raises(UnsupportedPair, match="no place in a plain Llama"):
        gguf_convert.gguf_name("model.layers.0.self_attn.o_proj.bias", "x")


def test_values_beyond_float16_are_refused(micro_folder: Path, tmp_path: Path) -> None:
    (shard,) = micro_folder.glob("*.safetensors")
    entry = safetensors_file.entries(shard)[3]
    with shard.open("r+b") as out:
        out.seek(entry.start)
        out.write((0x7F00).to_bytes(2, "little"))
    with pytest.raises(BadFile, match="float16 cannot"):
        gguf_convert.convert(micro_folder, tmp_path / "out.gguf", "x")
