"""Weights of a GGUF file in llama.cpp's own order of rows; the `gguf` package dequantizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from quantswarm.models import gguf_file
from quantswarm.models.dequantize import Floats
from quantswarm.models.errors import BadFile, UnsupportedPair
from quantswarm.models.reference.forward import Matrix
from quantswarm.models.reference.rounding import (
    Rounding,
    as_is,
    bfloat16,
    float16,
    int8_blocks,
    int8_long_blocks,
)
from quantswarm.models.reference.shape import Shape, from_gguf

_WHOLE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
_PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_LONG_BLOCKS = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS")
UNQUANTIZED: Mapping[str, Rounding] = {"F32": as_is, "F16": float16, "BF16": bfloat16}


class GgufWeights:
    """The `Weights` of a GGUF file. Raises `BadFile`, `UnsupportedPair`."""

    def __init__(self, path: Path, asked: str) -> None:
        header = gguf_file.read(path)
        from gguf import GGUFReader

        self._asked = asked
        self._tensors: Mapping[str, Any] = {one.name: one for one in GGUFReader(path).tensors}
        rows = int(self._tensor("token_embd.weight").shape[1])
        shape = from_gguf(header.values, rows, asked)
        if "rope_freqs.weight" in self._tensors:
            divisors = tuple(map(float, self.vector("rope_freqs.weight")))
            shape = replace(shape, rope_divisors=divisors)
        self.shape: Shape = shape

    @property
    def quantized(self) -> bool:
        """Whether any tensor is of a quantized type."""
        return any(one.tensor_type.name not in UNQUANTIZED for one in self._tensors.values())

    @property
    def rounds_inputs(self) -> bool:
        """llama.cpp's CPU kernels do, for every quantized type."""
        return self.quantized

    def embedding(self, ids: Sequence[int]) -> Floats:
        """Rows are dequantized by themselves."""
        tensor = self._tensor("token_embd.weight")
        return _floats(tensor.data[np.asarray(ids)], tensor.tensor_type, self._asked)

    def vector(self, name: str) -> Floats:
        """A tensor of ordinary floats."""
        return self._whole(_gguf_name(name))

    def matrix(self, name: str) -> Matrix:
        """Its inputs are rounded as llama.cpp's CPU kernels do for the type of the weights."""
        stem = _gguf_name(f"{name}.weight").removesuffix(".weight")
        if name == "lm_head" and "output.weight" not in self._tensors:
            stem = "token_embd"
        bias = f"{stem}.bias"
        kind = self._tensor(f"{stem}.weight").tensor_type.name
        return Matrix(
            values=self._whole(f"{stem}.weight"),
            bias=self._whole(bias) if bias in self._tensors else None,
            inputs=inputs_of(kind),
            quantized=kind not in UNQUANTIZED,
        )

    def _whole(self, name: str) -> Floats:
        tensor = self._tensor(name)
        return _floats(tensor.data, tensor.tensor_type, self._asked)

    def _tensor(self, name: str) -> Any:
        if name not in self._tensors:
            raise BadFile(
                self._asked, f"tensor {name} is missing", next_step="download or convert it again"
            )
        return self._tensors[name]


def inputs_of(kind: str) -> Rounding:
    """What llama.cpp's CPU kernels round the other factor to: see `vec_dot_type` in ggml-cpu."""
    if kind in UNQUANTIZED:
        return UNQUANTIZED[kind]
    long = kind.endswith("_K") or kind in _LONG_BLOCKS
    return int8_long_blocks if long else int8_blocks


def _floats(data: Any, kind: Any, asked: str) -> Floats:
    from gguf.quants import dequantize

    try:
        return np.asarray(dequantize(data, kind), np.float32)
    except NotImplementedError:
        raise UnsupportedPair(
            asked,
            f"the gguf package cannot dequantize {kind.name}",
            next_step="verify a file of another type",
        ) from None


def _gguf_name(name: str) -> str:
    stem, _, last = name.rpartition(".")
    if stem == "rope_freqs":
        return name
    if stem in _WHOLE:
        return f"{_WHOLE[stem]}.{last}"
    _, _, number, part = stem.split(".", 3)
    return f"blk.{number}.{_PARTS[part]}.{last}"
