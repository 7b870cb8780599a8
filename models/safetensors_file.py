"""safetensors files without PyTorch: checked headers, numpy views, and a streaming writer.

A file is: 8 bytes (length of the header), the header as JSON, the tensors' bytes one after another.
numpy has no bfloat16, so such tensors are uint16 here, and `as_float32` widens them.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from quantswarm.models.errors import BadFile

ELEMENT_BYTES: Mapping[str, int] = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2,
    "U16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
_LONGEST_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where one tensor lies: `start` and `end` count from the file's first byte."""

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def entries(path: Path) -> tuple[Entry, ...]:
    """All tensors of a file in order of their bytes; `BadFile` unless the file is whole."""
    try:
        return _entries(path)
    except OSError as error:
        raise BadFile(
            f"safetensors file {path}",
            error.strerror or "cannot be read",
            next_step="check the path",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise BadFile(
            f"safetensors file {path}",
            f"corrupt or truncated: {error}",
            evidence=f"It has {path.stat().st_size:,} bytes.",
            next_step="copy or download it again, and compare its size and sha256",
        ) from error


def _entries(path: Path) -> tuple[Entry, ...]:
    size_bytes = path.stat().st_size
    with path.open("rb") as source:
        (length,) = struct.unpack("<Q", source.read(8))
        if length > min(size_bytes - 8, _LONGEST_HEADER_BYTES):
            raise ValueError(f"a header of {length:,} bytes is announced")
        header = json.loads(source.read(length))
    first = 8 + length
    header.pop("__metadata__", None)
    found = [_entry(path, first, name, value) for name, value in header.items()]
    found.sort(key=lambda entry: entry.start)
    _check_contiguous(found, first, size_bytes)
    return tuple(found)


def _entry(path: Path, first: int, name: str, value: Mapping[str, Any]) -> Entry:
    start, end = value["data_offsets"]
    shape = tuple(int(length) for length in value["shape"])
    entry = Entry(
        path=path,
        name=name,
        dtype=value["dtype"],
        shape=shape,
        start=first + start,
        end=first + end,
    )
    if entry.end - entry.start != entry.elements * ELEMENT_BYTES[entry.dtype]:
        raise ValueError(f"tensor {name} has {end - start:,} bytes, which is not its shape's size")
    return entry


def _check_contiguous(found: Iterable[Entry], first: int, size_bytes: int) -> None:
    at = first
    for entry in found:
        if entry.start != at:
            raise ValueError(f"tensor {entry.name} begins at {entry.start:,}, not at {at:,}")
        at = entry.end
    if at != size_bytes:
        raise ValueError(f"its tensors end at {at:,}, the file at {size_bytes:,}")


def read_raw(entry: Entry) -> Any:
    """The tensor as numpy's memory map of its file: bfloat16 as uint16, nothing read before use."""
    import numpy as np

    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
    if entry.dtype not in kinds:
        raise BadFile(
            f"tensor {entry.name} of {entry.path}",
            f"its type is {entry.dtype}; only {', '.join(kinds)} are converted",
            next_step="give the original, unquantized model",
        )
    return np.memmap(
        entry.path, dtype=kinds[entry.dtype], mode="r", offset=entry.start, shape=entry.shape
    )


def as_float32(raw: Any, dtype: str) -> Any:
    """`raw` as float32: a bfloat16 is the upper half of the float32 of the same value."""
    import numpy as np

    if dtype == "BF16":
        wide = raw.astype(np.uint32)
        wide <<= np.uint32(16)
        return wide.view(np.float32)
    return raw.astype(np.float32)


def write_header(out: IO[bytes], tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> None:
    """The header for (name, dtype, shape) in the order in which their bytes will follow."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, dtype, shape in tensors:
        size = math.prod(shape) * ELEMENT_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    out.write(struct.pack("<Q", len(text)))
    out.write(text)
