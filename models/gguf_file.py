"""What a GGUF file says of itself, read with the standard library, every length checked.

Layout (llama.cpp's docs): magic, version, counts, typed key-value pairs, tensor descriptions, then
the data, aligned. A file is whole when the last tensor ends inside it.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from quantswarm.models.errors import BadFile

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_MOST_TENSORS = 1_000_000

QUANTS: Mapping[int, str] = {
    0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k",
    11: "q3_k_s", 12: "q3_k_m", 13: "q3_k_l", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s",
    17: "q5_k_m", 18: "q6_k", 19: "iq2_xxs", 20: "iq2_xs", 21: "q2_k_s", 22: "iq3_xs",
    23: "iq3_xxs", 24: "iq1_s", 25: "iq4_nl", 26: "iq3_s", 27: "iq3_m", 28: "iq2_s", 29: "iq2_m",
    30: "iq4_xs", 31: "iq1_m", 32: "bf16-gguf",
}  # fmt: skip
"""`general.file_type`, by llama.cpp's numbers, as recipes are named here."""

UNQUANTIZED = ("f32", "bf16-gguf", "f16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor's description; `shape` is in GGUF's order, the row's length first."""

    name: str
    shape: tuple[int, ...]
    type_number: int
    offset: int

    @property
    def kind(self) -> str:
        """ggml's name of the type, in lower case."""
        from gguf.constants import GGMLQuantizationType

        return str(GGMLQuantizationType(self.type_number).name).lower()

    @property
    def size_bytes(self) -> int:
        """What the file holds of it, without the padding after it."""
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(self.type_number)]
        return int(math.prod(self.shape) // block * block_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """`values` holds scalars and strings; of an array only its length (under the key)."""

    path: Path
    values: Mapping[str, Any]
    tensors: tuple[Tensor, ...]

    @property
    def quant(self) -> str | None:
        """The file's own quantization in our spelling; None when it does not say."""
        return QUANTS.get(self.values.get("general.file_type", -1))

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", "unknown"))

    @property
    def context_tokens(self) -> int | None:
        found = self.values.get(f"{self.architecture}.context_length")
        return int(found) if found else None

    @property
    def parameters(self) -> int:
        """Elements of all tensors."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Of all tensors together, norms and embeddings included."""
        return 8 * sum(tensor.size_bytes for tensor in self.tensors) / self.parameters

    @property
    def types(self) -> dict[str, int]:
        """How many tensors are stored in each of ggml's types."""
        return dict(sorted(Counter(tensor.kind for tensor in self.tensors).items()))


def read(path: Path) -> GgufHeader:
    """The header of a GGUF file; `BadFile` unless it is one and all its data is there."""
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as source:
            return _read(path, _Cursor(source, size_bytes))
    except OSError as error:
        raise BadFile(
            f"GGUF file {path}", error.strerror or "cannot be read", next_step="check the path"
        ) from error
    except (struct.error, ValueError, OverflowError, KeyError) as error:
        raise BadFile(
            f"GGUF file {path}",
            f"corrupt or truncated: {error}",
            evidence=f"It has {path.stat().st_size:,} bytes.",
            next_step="download or convert it again, and compare its size and sha256",
        ) from error


class _Cursor:
    """Reads forward through a file of known size and refuses to go past its end."""

    def __init__(self, source: IO[bytes], size_bytes: int) -> None:
        self.source = source
        self.left = size_bytes
        self.at = 0

    def take(self, count: int) -> bytes:
        self._claim(count)
        return self.source.read(count)

    def skip(self, count: int) -> None:
        self._claim(count)
        self.source.seek(count, 1)

    def _claim(self, count: int) -> None:
        if count > self.left:
            raise ValueError(f"{count:,} bytes expected at offset {self.at:,}, {self.left:,} left")
        self.left -= count
        self.at += count

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8")


def _read(path: Path, cursor: _Cursor) -> GgufHeader:
    if cursor.take(4) != b"GGUF":
        raise ValueError("it does not begin with the letters GGUF")
    version = cursor.number("I")
    if version not in (2, 3):
        raise ValueError(f"GGUF version {version}; versions 2 and 3 are known")
    tensor_count, pair_count = cursor.number("Q"), cursor.number("Q")
    if tensor_count > _MOST_TENSORS or pair_count > _MOST_TENSORS:
        raise ValueError(f"it claims {tensor_count:,} tensors and {pair_count:,} values")
    values = {}
    for _ in range(pair_count):
        key = cursor.text()
        values[key] = _value(cursor, cursor.number("I"))
    tensors = tuple(_tensor(cursor) for _ in range(tensor_count))
    _check_data(tensors, values, cursor)
    return GgufHeader(path=path, values=values, tensors=tensors)


def _value(cursor: _Cursor, kind: int) -> Any:
    if kind == _STRING:
        return cursor.text()
    if kind != _ARRAY:
        return cursor.number(_SCALARS[kind])
    inner, count = cursor.number("I"), cursor.number("Q")
    if inner == _STRING:
        for _ in range(count):
            cursor.skip(cursor.number("Q"))
    elif inner == _ARRAY:
        raise ValueError("an array of arrays")
    else:
        cursor.skip(count * struct.calcsize(f"<{_SCALARS[inner]}"))
    return count


def _tensor(cursor: _Cursor) -> Tensor:
    name = cursor.text()
    dimensions = cursor.number("I")
    if dimensions > 4:
        raise ValueError(f"tensor {name} has {dimensions} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(dimensions))
    return Tensor(name=name, shape=shape, type_number=cursor.number("I"), offset=cursor.number("Q"))


def _check_data(tensors: tuple[Tensor, ...], values: Mapping[str, Any], cursor: _Cursor) -> None:
    alignment = int(values.get("general.alignment", 32))
    start = math.ceil(cursor.at / alignment) * alignment
    size_bytes = cursor.at + cursor.left
    for tensor in tensors:
        end = start + tensor.offset + tensor.size_bytes
        if end > size_bytes:
            raise ValueError(f"tensor {tensor.name} ends at {end:,}, the file at {size_bytes:,}")
