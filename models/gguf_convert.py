"""Safetensors of Llama or Qwen2 → GGUF F16, tensor by tensor, without PyTorch.

For Llama llama.cpp turns neighbouring pairs of a head's values, Hugging Face's layout turns the two
halves; so the rows of its query and key matrices are reordered. Qwen2 keeps the halves, and adds
biases to queries, keys and values. Norms and biases stay float32.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quantswarm.models import gguf_rope, gguf_vocabulary, safetensors_file
from quantswarm.models.errors import BadFile, UnsupportedPair
from quantswarm.models.hf_folder import HfFolder, inspect
from quantswarm.models.safetensors_file import Entry
from quantswarm.models.space import require_disk

ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
}
"""Hugging Face's name → llama.cpp's."""

_F16 = 1

_WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_IN_LAYER = {
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
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_BIASED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def convert(folder: Path, out: Path, name: str) -> None:
    """Write the model of `folder` to `out` as GGUF with float16 matrices.

    Raises `UnsupportedPair` for another architecture, `BadFile` for weights that float16 cannot
    hold, `NoSpace` before anything is written.
    """
    asked = f"GGUF of model {name!r}"
    model = inspect(folder, asked)
    require_convertible(model, asked)
    renamed = {gguf_name(entry.name, asked): entry for entry in model.tensors}
    require_disk(out.parent, 2 * model.parameters + 2**24, asked)
    _write(model, renamed, out, name)


def require_convertible(model: HfFolder, asked: str) -> None:
    """`UnsupportedPair` unless config.json describes a model that this converter knows wholly."""
    config = model.config
    architecture = (config.get("architectures") or ["none"])[0]
    sliding = bool(config.get("sliding_window")) and config.get("use_sliding_window", True)
    reasons = {
        f"its architecture is {architecture}": architecture not in ARCHITECTURES,
        "its weights are quantized already": "quantization_config" in config,
        "its attention slides over a window": sliding,
        f"its rope is scaled ({gguf_rope.kind(config)})": (
            gguf_rope.kind(config) not in gguf_rope.KINDS
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            raise UnsupportedPair(
                asked,
                f"{reason}, which the converter does not know",
                evidence=f"It converts {' and '.join(ARCHITECTURES)} with plain rope or Llama 3's.",
                next_step="give a ready-made .gguf file as model, or serve the folder with vllm",
            )


def gguf_name(name: str, asked: str) -> str:
    """llama.cpp's name of a Hugging Face tensor."""
    if name in _WHOLE:
        return _WHOLE[name]
    match = _LAYER.fullmatch(name)
    if match and match[2] in _IN_LAYER and (match[3] == "weight" or match[2] in _BIASED):
        return f"blk.{match[1]}.{_IN_LAYER[match[2]]}.{match[3]}"
    raise UnsupportedPair(
        asked,
        f"tensor {name} has no place in a plain Llama or Qwen2",
        next_step="give a ready-made .gguf file as model, or serve the folder with vllm",
    )


def to_rope_pairs(rows: Any, heads: int) -> Any:
    """Reorder a query or key matrix [heads · head_size, inputs] from halves to neighbours."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def _write(model: HfFolder, renamed: Mapping[str, Entry], out: Path, name: str) -> None:
    import gguf

    writer = gguf.GGUFWriter(out, _architecture(model.config))
    factors = gguf_rope.factors(model.config)
    try:
        _describe(writer, model.config, name)
        gguf_vocabulary.write(writer, model)
        for target, entry in renamed.items():
            kind = np.dtype(np.float32 if len(entry.shape) == 1 else np.float16)
            size_bytes = entry.elements * kind.itemsize
            writer.add_tensor_info(target, entry.shape, kind, size_bytes)
        if factors is not None:
            size_bytes = factors.nbytes
            writer.add_tensor_info(gguf_rope.TENSOR, factors.shape, factors.dtype, size_bytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for entry in renamed.values():
            writer.write_tensor_data(tensor_data(entry, model.config))
        if factors is not None:
            writer.write_tensor_data(factors)
    finally:
        writer.close()


def _architecture(config: Mapping[str, Any]) -> str:
    return ARCHITECTURES[config["architectures"][0]]


def tensor_data(entry: Entry, config: Mapping[str, Any]) -> Any:
    """One tensor as GGUF holds it: float32 norms, float16 matrices in llama.cpp's order of rows."""
    values = safetensors_file.as_float32(safetensors_file.read_raw(entry), entry.dtype)
    if _architecture(config) == "llama":
        heads = int(config["num_attention_heads"])
        if ".self_attn.q_proj." in entry.name:
            values = to_rope_pairs(values, heads)
        elif ".self_attn.k_proj." in entry.name:
            values = to_rope_pairs(values, int(config.get("num_key_value_heads", heads)))
    if len(entry.shape) == 1:
        return np.ascontiguousarray(values)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise BadFile(
            f"tensor {entry.name} of {entry.path}",
            "it holds values that float16 cannot (NaN, infinity, or beyond 65,504)",
            next_step="serve the folder with vllm in bf16 or fp32",
        )
    return np.ascontiguousarray(half)


def _describe(writer: Any, config: Mapping[str, Any], name: str) -> None:
    heads = int(config["num_attention_heads"])
    head_size = gguf_rope.head_size(config)
    writer.add_name(name)
    writer.add_file_type(_F16)
    writer.add_quantization_version(2)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads", heads)))
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(gguf_rope.base(config))
    writer.add_vocab_size(int(config["vocab_size"]))
