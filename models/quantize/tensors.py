"""The tensors of a checkpoint by name, read from its files as they are asked for; numpy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quantswarm.models import safetensors_file
from quantswarm.models.hf_folder import HfFolder

_KINDS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "i1", "U8": "u1", "F8_E4M3": "u1",
}  # fmt: skip


class Checkpoint:
    """Every tensor of a checked folder; nothing is read before it is used."""

    def __init__(self, folder: HfFolder) -> None:
        self.config = folder.config
        self.entries: Mapping[str, safetensors_file.Entry] = {
            entry.name: entry for entry in folder.tensors
        }

    def raw(self, name: str) -> Any:
        """As stored: bfloat16 as uint16, e4m3 as bytes."""
        import numpy as np

        entry = self.entries[name]
        kind = _KINDS[entry.dtype]
        return np.memmap(entry.path, dtype=kind, mode="r", offset=entry.start, shape=entry.shape)

    def float32(self, name: str) -> Any:
        """Widened to float32."""
        return safetensors_file.as_float32(self.raw(name), self.entries[name].dtype)

    def layers(self, suffix: str) -> tuple[str, ...]:
        """Names of the modules that have a tensor of this last name."""
        end = f".{suffix}"
        return tuple(sorted(name[: -len(end)] for name in self.entries if name.endswith(end)))

    def parts(self, layer: str) -> dict[str, Any]:
        """The tensors of one module by their last names; floats are widened."""
        start = f"{layer}."
        found = {}
        for name, entry in self.entries.items():
            if name.startswith(start) and "." not in name[len(start) :]:
                wide = entry.dtype in ("F16", "BF16", "F32")
                found[name[len(start) :]] = self.float32(name) if wide else self.raw(name)
        return found


def write(
    path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...]]], values: Iterator[Any]
) -> None:
    """One safetensors file: (dtype, shape) by name, and the arrays in the same order."""
    import numpy as np

    with path.open("wb") as out:
        safetensors_file.write_header(out, [(name, *facts) for name, facts in tensors.items()])
        for value in values:
            out.write(np.ascontiguousarray(value).tobytes())


def narrowed(value: Any, dtype: str) -> Any:
    """float32 in another float type's bits, rounded to nearest even."""
    import numpy as np

    if dtype == "BF16":
        bits = value.astype(np.float32).view(np.uint32)
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        return ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)
    return value.astype(_KINDS[dtype])
