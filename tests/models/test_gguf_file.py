from __future__ import annotations

import contextlib
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantswarm.models import gguf_file
from quantswarm.models.errors import BadFile

SAME_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100
)


def write_gguf(path: Path, file_type: int | None = 1) -> bytes:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_token_list(["a", "bc"])
    writer.add_token_types([1, 1])
    writer.add_bool("some.flag", True)
    if file_type is not None:
        writer.add_file_type(file_type)
    writer.add_tensor("one", np.ones((2, 32), np.float16))
    writer.add_tensor("two", np.ones(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def test_reads_what_the_reference_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    write_gguf(path)
    header = gguf_file.read(path)
    assert header.quant == "f16"
    assert header.architecture == "llama"
    assert header.context_tokens == 512
    assert header.parameters == 72
    assert header.values["tokenizer.ggml.tokens"] == 2
    assert [(tensor.name, tensor.shape) for tensor in header.tensors] == [
        ("one", (32, 2)),
        ("two", (8,)),
    ]


def test_a_file_that_does_not_say_its_type_has_none(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf", file_type=None)
    assert gguf_file.read(tmp_path / "a.gguf").quant is None


def test_names_of_types_are_those_of_the_reference_library() -> None:
    for number, name in gguf_file.QUANTS.items():
        reference = gguf.LlamaFileType(number).name
        assert reference.removeprefix("MOSTLY_").removeprefix("ALL_").lower() == name.removesuffix(
            "-gguf"
        )


@SAME_FOLDER
@given(st.data())
def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.gguf"
    whole = write_gguf(path)
    kept = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:kept])
    with pytest.raises(BadFile, match="corrupt or truncated"):
        gguf_file.read(path)


@SAME_FOLDER
@given(st.data())
def test_a_changed_byte_is_read_or_refused_never_a_crash(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "a.gguf"
    content = bytearray(write_gguf(path))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    with contextlib.suppress(BadFile):
        gguf_file.read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "4 bytes expected"),
        (b"PK\x03\x04 a zip file", "letters GGUF"),
        (b"GGUF\x07\x00\x00\x00" + bytes(16), "version 7"),
        (b"GGUF\x03\x00\x00\x00" + b"\xff" * 16, "it claims"),
    ],
)
def test_the_message_says_what_is_wrong(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=words):
        gguf_file.read(path)


def test_a_missing_file_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="No such file"):
        gguf_file.read(tmp_path / "none.gguf")
