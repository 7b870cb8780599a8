"""Weights of a Hugging Face folder, plain or quantized; every tensor is read when it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantswarm.models import hf_folder
from quantswarm.models.dequantize import Floats, Stored, awq, compressed, gptq
from quantswarm.models.errors import BadFile, UnsupportedPair
from quantswarm.models.reference.forward import Matrix
from quantswarm.models.reference.rounding import Rounding, as_is, e4m3_rows, int8_rows
from quantswarm.models.reference.shape import Shape, from_config
from quantswarm.models.safetensors_file import Entry, as_float32

_NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "i1", "U8": "u1", "F8_E4M3": "u1",
}  # fmt: skip
_MARKS = ("qweight", "weight_packed")
METHODS = ("gptq", "awq", "compressed-tensors")


class Checkpoint:
    """The `Weights` of a folder. Raises `BadFile`, or `UnsupportedPair` for other methods."""

    def __init__(self, folder: Path, asked: str) -> None:
        found = hf_folder.inspect(folder, asked)
        self._asked = asked
        self._entries: Mapping[str, Entry] = {entry.name: entry for entry in found.tensors}
        self._tied = "lm_head.weight" not in self._entries
        self._scheme: Mapping[str, Any] = found.config.get("quantization_config") or {}
        self._method = str(self._scheme.get("quant_method", "")) or None
        if self._method not in (None, *METHODS):
            raise UnsupportedPair(
                asked,
                f"quantization method {self._method!r}, which is not dequantized here",
                evidence=f"Known: {', '.join(METHODS)}.",
                next_step="verify a checkpoint of one of these",
            )
        self.shape: Shape = from_config(found.config, asked)

    @property
    def quantized(self) -> bool:
        """Whether a config says so."""
        return self._method is not None

    @property
    def rounds_inputs(self) -> bool:
        """Whether the scheme quantizes activations too."""
        return self._inputs() is not as_is

    def embedding(self, ids: Sequence[int]) -> Floats:
        """Only the rows that are asked for leave the file."""
        name = "model.embed_tokens.weight"
        entry = self._entry(name)
        return as_float32(self._raw(name)[np.asarray(ids)], entry.dtype)  # type: ignore[no-any-return]

    def vector(self, name: str) -> Floats:
        """A tensor of ordinary floats."""
        return as_float32(self._raw(name), self._entry(name).dtype)  # type: ignore[no-any-return]

    def matrix(self, name: str) -> Matrix:
        """Dequantized by the tensors that the module has: a part may be left unquantized."""
        if name == "lm_head" and self._tied:
            return Matrix(values=self.vector("model.embed_tokens.weight"))
        bias = self.vector(f"{name}.bias") if f"{name}.bias" in self._entries else None
        if not self._is_quantized(name):
            return Matrix(values=self.vector(f"{name}.weight"), bias=bias)
        values = self._dequantized(name)
        return Matrix(values=values, bias=bias, inputs=self._inputs(), quantized=True)

    def _is_quantized(self, name: str) -> bool:
        if any(f"{name}.{mark}" in self._entries for mark in _MARKS):
            return True
        return self._entry(f"{name}.weight").dtype in ("I8", "F8_E4M3")

    def _dequantized(self, name: str) -> Floats:
        if f"{name}.qweight" in self._entries:
            return self._grouped(name)
        scale = self.vector(f"{name}.weight_scale")
        if f"{name}.weight_packed" in self._entries:
            group = self._group()["weights"]
            return compressed.packed(
                self._raw(f"{name}.weight_packed"),
                scale,
                self._optional(f"{name}.weight_zero_point"),
                self._optional(f"{name}.weight_g_idx"),
                bits=int(group["num_bits"]),
                inputs=int(self._raw(f"{name}.weight_shape")[1]),
            )
        whole = compressed.int8 if self._entry(f"{name}.weight").dtype == "I8" else compressed.e4m3
        return whole(self._raw(f"{name}.weight"), scale)

    def _grouped(self, name: str) -> Floats:
        weight, zeros = self._raw(f"{name}.qweight"), self._raw(f"{name}.qzeros")
        scales = self.vector(f"{name}.scales")
        if self._method == "awq":
            return awq.weight(weight, zeros, scales)
        second = self._scheme.get("checkpoint_format") == "gptq_v2"
        return gptq.weight(
            weight,
            zeros,
            scales,
            self._optional(f"{name}.g_idx"),
            bits=int(self._scheme["bits"]),
            stored_less_one=not second,
        )

    def _inputs(self) -> Rounding:
        """How the scheme rounds what a quantized matrix is multiplied with."""
        told = self._group().get("input_activations") if self._scheme.get("config_groups") else None
        if not told:
            return as_is
        kind = (told.get("type"), told.get("num_bits"), told.get("strategy"), told.get("symmetric"))
        known: Mapping[Any, Rounding] = {
            ("int", 8, "token", True): int8_rows,
            ("float", 8, "token", True): e4m3_rows,
        }
        if kind not in known or not told.get("dynamic"):
            raise UnsupportedPair(
                self._asked,
                f"activations rounded as {kind}, which the reference does not do",
                evidence="Known: 8-bit integers or floats, dynamic, symmetric, a scale a token.",
                next_step="verify a checkpoint with dynamic activations",
            )
        return known[kind]

    def _group(self) -> Mapping[str, Any]:
        groups: Mapping[str, Mapping[str, Any]] = self._scheme["config_groups"]
        if len(groups) != 1:
            raise UnsupportedPair(
                self._asked,
                f"{len(groups)} groups of layers quantized in different ways",
                next_step="verify a checkpoint with one way for all its layers",
            )
        return next(iter(groups.values()))

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            raise BadFile(
                self._asked,
                f"tensor {name} is missing",
                next_step="copy or download the folder again",
            )
        return self._entries[name]

    def _raw(self, name: str) -> Stored:
        entry = self._entry(name)
        return np.memmap(
            entry.path, dtype=_NUMPY[entry.dtype], mode="r", offset=entry.start, shape=entry.shape
        )

    def _optional(self, name: str) -> Stored | None:
        return self._raw(name) if name in self._entries else None
