"""From what a library wrote to the checkpoint that is served.

Config and tokenizer are the original's own files, with `quantization_config` added: libraries write
them anew, for their version of transformers, and with the type that they computed in.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.models.hf_folder import HfFolder
from quantswarm.models.quantize import grouped
from quantswarm.models.quantize.tensors import Checkpoint, narrowed, write

PROVENANCE = "quantization.json"
"""Beside the weights: method, libraries, settings, calibration, and the error of each layer."""

_KEPT = (
    "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "vocab.json",
    "merges.txt",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of the checkpoint to be written; `read` gives its array when it is its turn."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Any]


def awq(made: Checkpoint, original: Checkpoint) -> dict[str, Tensor]:
    """compressed-tensors' packing repacked as AutoAWQ's; the rest in the original's types."""
    layers = made.layers("weight_packed")
    found = {}
    for layer in layers:
        outputs, inputs = (int(n) for n in made.raw(f"{layer}.weight_shape"))
        groups = made.entries[f"{layer}.weight_scale"].shape[1]
        shapes = {
            "qweight": ("I32", (inputs, outputs // 8)),
            "qzeros": ("I32", (groups, outputs // 8)),
            "scales": ("F16", (groups, outputs)),
        }
        for part, (dtype, shape) in shapes.items():
            read = _awq_part(made, layer, part)
            found[f"{layer}.{part}"] = Tensor(dtype=dtype, shape=shape, read=read)
    packed = {f"{layer}.{part}" for layer in layers for part in made.parts(layer)}
    rest = {n: _as_original(made, original, n) for n in made.entries if n not in packed}
    return {**found, **rest}


def as_made(made: Checkpoint, original: Checkpoint) -> dict[str, Tensor]:
    """The library's own layout, but what was not quantized goes back to the original's type."""
    return {name: _as_original(made, original, name) for name in made.entries}


def checkpoint(
    out: Path, original: HfFolder, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> None:
    """Write the folder that engines load."""
    out.mkdir()
    facts = {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
    write(out / "model.safetensors", facts, (tensor.read() for tensor in tensors.values()))
    beside(out, original, config)


def beside(out: Path, original: HfFolder, config: Mapping[str, Any]) -> None:
    """What belongs to the weights in `out`: the original's config and tokenizer."""
    whole = {**original.config, "quantization_config": dict(config)}
    (out / "config.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    for name in _KEPT:
        if (original.path / name).is_file():
            shutil.copyfile(original.path / name, out / name)


def gptq_config(made: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the library notes for itself (folders of this machine, for one)."""
    kept = ("bits", "group_size", "sym", "desc_act", "checkpoint_format", "lm_head", "pack_dtype")
    quantizer = made.get("meta", {}).get("quantizer")
    found = {name: made[name] for name in kept if name in made}
    return {"quant_method": "gptq", **found, "meta": {"quantizer": quantizer}}


def awq_config(group_size: int) -> dict[str, Any]:
    """AutoAWQ's keys. Zero points are always stored, so they are always announced."""
    return {
        "quant_method": "awq",
        "bits": 4,
        "group_size": group_size,
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": ["lm_head"],
    }


def _as_it_is(made: Checkpoint, name: str) -> Tensor:
    entry = made.entries[name]
    return Tensor(dtype=entry.dtype, shape=entry.shape, read=lambda: made.raw(name))


def _as_original(made: Checkpoint, original: Checkpoint, name: str) -> Tensor:
    """The quantized weight of a layer has its original's name too, and keeps its own type."""
    entry, before = made.entries[name], original.entries.get(name)
    if before is None or entry.dtype not in ("F32", "BF16", "F16") or before.dtype == entry.dtype:
        return _as_it_is(made, name)
    return Tensor(
        dtype=before.dtype,
        shape=entry.shape,
        read=lambda: narrowed(made.float32(name), before.dtype),
    )


def _awq_part(made: Checkpoint, layer: str, part: str) -> Callable[[], Any]:
    return lambda: grouped.to_awq(grouped.from_packed(made.parts(layer)))[part]
