from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load_file, save_file

from quantswarm.models import safetensors_file
from quantswarm.models.errors import BadFile

SAME_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


@given(arrays.arrays(np.uint16, 64))
def test_bfloat16_widens_to_the_float32_with_the_same_upper_half(bits: np.ndarray) -> None:
    wide = safetensors_file.as_float32(bits, "BF16")
    assert wide.dtype == np.float32
    assert np.array_equal(wide.view(np.uint32) >> 16, bits)
    assert not (wide.view(np.uint32) & 0xFFFF).any()


def test_bfloat16_agrees_with_known_values() -> None:
    bits = np.array([0x3F80, 0xC000, 0x7F80, 0x0000, 0x4049], dtype=np.uint16)
    assert safetensors_file.as_float32(bits, "BF16").tolist() == [1.0, -2.0, np.inf, 0.0, 3.140625]


@given(
    arrays.arrays(
        np.uint16,
        32,
        elements=st.integers(0x3880, 0x477F),  # 2**-14 … 65280, float16's normals
    )
)
def test_normal_bfloat16_values_are_exact_in_float16(bits: np.ndarray) -> None:
    wide = safetensors_file.as_float32(bits, "BF16")
    assert np.array_equal(wide.astype(np.float16).astype(np.float32), wide)


def test_reads_what_the_reference_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors: dict[str, np.ndarray] = {
        "x": np.arange(6, dtype=np.float32).reshape(2, 3),
        "y": np.ones(4, np.float16),
    }
    save_file(tensors, path)
    found = {entry.name: entry for entry in safetensors_file.entries(path)}
    assert found.keys() == tensors.keys()
    for name, entry in found.items():
        assert np.array_equal(safetensors_file.read_raw(entry), tensors[name])


def test_the_reference_library_reads_what_is_written_here(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    values = np.arange(12, dtype="<f4").reshape(3, 4)
    with path.open("wb") as out:
        safetensors_file.write_header(out, [("x", "F32", (3, 4)), ("y", "F32", (3, 4))])
        out.write(values.tobytes())
        out.write((values + 1).tobytes())
    assert np.array_equal(load_file(path)["y"], values + 1)


@SAME_FOLDER
@given(kept=st.integers(0, 143 + 64))
def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": np.ones(16, np.float32), "y": np.ones(4, np.float32)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: min(kept, len(whole) - 1)])
    with pytest.raises(BadFile, match="corrupt or truncated"):
        safetensors_file.entries(path)


@SAME_FOLDER
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read_never_crash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadFile):
        safetensors_file.entries(path)


@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}},
        {"x": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}},
        {"x": {"dtype": "??", "shape": [2], "data_offsets": [0, 8]}},
        {"x": {"shape": [2]}},
        {"x": 3},
        [],
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, header: object) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(BadFile):
        safetensors_file.entries(path)
