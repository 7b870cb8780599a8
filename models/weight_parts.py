"""What a model's weights are made of, in bytes: by component and stored type, from headers alone.

Embeddings are a table to look rows up in; layers, head and norms are read whole for every step.
A head that is missing is the table of embeddings, used a second time: then that is read as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.models import gguf_file, hf_folder, safetensors_file
from quantswarm.models.artefact import Artefact
from quantswarm.models.shapes import AnyShape

LAYERS, EMBEDDINGS, HEAD, NORMS, OTHER = "layers", "embeddings", "head", "norms", "other"
COMPONENTS = (LAYERS, EMBEDDINGS, HEAD, NORMS, OTHER)
PLAIN_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Types that are no quantization, and the bytes of a number."""

_PLAIN = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
_EIGHT = {"I8": "int8", "F8_E4M3": "float8", "F8_E5M2": "float8"}
_BESIDE = {
    "qzeros": "zeros",
    "weight_zero_point": "zeros",
    "scales": "scales",
    "weight_scale": "scales",
    "g_idx": "order",
    "weight_g_idx": "order",
    "weight_shape": "order",
    "absmax": "scales",
    "nested_absmax": "scales",
    "SCB": "scales",
    "quant_map": "table",
    "nested_quant_map": "table",
    "weight_format": "order",
}
_ORDER = "order"
"""What only says how weights lie: read when they are loaded, not for a token."""
BESIDE_KINDS = frozenset({*_BESIDE.values()})
"""What lies beside quantized weights and stands for none itself."""
_NF4_STATE = ".quant_state.bitsandbytes__"
_PACKED = {"qweight": 8, "weight_packed": 8}
"""Suffix of words of 32 bits → weights in each."""
_EXPERTS = re.compile(r"\.experts\.|_exps\.")
_IN_LAYER = re.compile(r"(model\.layers|blk|(transformer\.)?h)\.\d+\.")
"""How Hugging Face's Llamas, llama.cpp and GPT-2 begin the name of a layer's tensor."""
_LAST_NORM = ("model.norm.", "output_norm.", "transformer.ln_f.", "ln_f.")
_MASK_DIMENSIONS = 4
"""GPT-2's checkpoints of the hub hold masks of [1, 1, positions, positions] in every layer."""
_GPT2_KEYS = {
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "hidden_size": "n_embd",
}
"""GPT-2's own names of what config.json says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Everything of one stored type in one component.

    `parameters` counts weights of matrices (0 for scales and the like), `plain` numbers may be
    held in another floating-point type by an engine, `read` says whether a step reads them all.
    """

    component: str
    kind: str
    stored_bytes: int
    elements: int
    parameters: int
    plain: bool
    read: bool

    @property
    def logical(self) -> int:
        """Numbers of the model that it stands for, vectors among them; none for scales."""
        return 0 if self.kind in BESIDE_KINDS else max(self.parameters, self.elements)

    def held_bytes(self, dtype: str | None) -> int:
        """In memory, where plain numbers are held as `dtype` (None: as they are stored)."""
        if dtype is None or not self.plain:
            return self.stored_bytes
        return self.elements * PLAIN_BYTES[dtype]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model's parts and the dimensions that its attention has.

    `kv_elements` are the numbers that the key-value cache stores for a token, `attention_width`
    is heads × head size, summed over the layers; None where the headers do not tell. `unknown`
    says why the parts do not tell what a step reads; it is empty where they do.
    """

    parts: tuple[Part, ...]
    kv_elements: int | None
    attention_width: int | None
    stored_as: str | None
    unknown: str = ""

    @property
    def stored_bytes(self) -> int:
        """All of them, as they lie on disk."""
        return sum(part.stored_bytes for part in self.parts)

    def read_bytes(self, dtype: str | None = None) -> int | None:
        """What one step reads, where plain numbers are held as `dtype`."""
        if self.unknown:
            return None
        return sum(part.held_bytes(dtype) for part in self.parts if part.read)

    def multiplied(self, *components: str) -> int | None:
        """Weights that each token is multiplied with, in all components or in those named."""
        if self.unknown:
            return None
        wanted = components or (LAYERS, HEAD)
        return sum(p.parameters for p in self.parts if _acts_as(p) in wanted)


def _acts_as(part: Part) -> str:
    """Embeddings that are read are the head too."""
    return HEAD if part.component == EMBEDDINGS and part.read else part.component


def of_artefact(artefact: Artefact) -> Weights:
    """From the headers of a built artefact; raises `BadFile` where there is none."""
    if artefact.format == "gguf":
        return of_gguf(gguf_file.read(artefact.path))
    if artefact.format == "onnx":
        return of_onnx(artefact.path)
    return of_folder(hf_folder.inspect(artefact.path, f"weights of {artefact.model}"))


def of_folder(folder: hf_folder.HfFolder) -> Weights:
    """Of a Hugging Face folder, quantized or not."""
    config: Mapping[str, Any] = folder.config.get("text_config") or folder.config
    tied = not any(entry.name.startswith("lm_head.") for entry in folder.tensors)
    parts = merged(_entry_part(entry, tied=tied) for entry in folder.tensors)
    dtype = config.get("torch_dtype") or config.get("dtype") or folder.config.get("torch_dtype")
    kv, width = attention_of(config)
    return Weights(
        parts=parts,
        kv_elements=kv,
        attention_width=width,
        stored_as=str(dtype).removeprefix("torch.") if dtype else None,
        unknown=_unknown(parts, (entry.name for entry in folder.tensors)),
    )


def of_gguf(header: gguf_file.GgufHeader) -> Weights:
    """Of a GGUF file."""
    tied = all(tensor.name != "output.weight" for tensor in header.tensors)
    parts = merged(_tensor_part(tensor, tied=tied) for tensor in header.tensors)
    rows = {
        what: sum(t.shape[1] for t in header.tensors if t.name.endswith(f".attn_{what}.weight"))
        for what in "qkv"
    }
    kv, width = _fused(header) if not rows["q"] else (rows["k"] + rows["v"] or None, rows["q"])
    return Weights(
        parts=parts,
        kv_elements=kv,
        attention_width=width,
        stored_as=None,
        unknown=_unknown(parts, (tensor.name for tensor in header.tensors)),
    )


def of_onnx(folder: Path) -> Weights:
    """Of a folder with an ONNX graph, quantized or not, and the model's config.json."""
    from quantswarm.models import onnx_graph

    found = onnx_graph.graph(folder)
    kv, width = attention_of(hf_folder.read_json(folder / "config.json", f"weights in {folder}"))
    parts = merged(onnx_graph.parts(found))
    return Weights(
        parts=parts,
        kv_elements=kv,
        attention_width=width,
        stored_as=None,
        unknown=_unknown(parts, (one.name for one in found.initializer)),
    )


def dimensions_of(shape: AnyShape) -> tuple[int, int]:
    """Numbers of the key-value cache for a token, and the attention's width over all layers."""
    per_head = shape.layers * shape.head_size
    return 2 * per_head * shape.kv_heads, per_head * shape.heads


def merged(parts: Iterable[Part]) -> tuple[Part, ...]:
    """One part for each component and type, components in their order, large types first."""
    sums: dict[tuple[str, str, bool, bool], list[int]] = {}
    for part in parts:
        found = sums.setdefault((part.component, part.kind, part.plain, part.read), [0, 0, 0])
        for place, number in enumerate((part.stored_bytes, part.elements, part.parameters)):
            found[place] += number
    made = (
        Part(
            component=component,
            kind=kind,
            stored_bytes=size,
            elements=elements,
            parameters=parameters,
            plain=plain,
            read=read,
        )
        for (component, kind, plain, read), (size, elements, parameters) in sums.items()
    )
    return tuple(sorted(made, key=lambda p: (COMPONENTS.index(p.component), -p.stored_bytes)))


def component_of(name: str, dimensions: int) -> str:
    """Where a tensor belongs, by Hugging Face's or llama.cpp's name of it.

    A table of learned positions is other: a step reads one row of it, and no head is made of it.
    """
    if name.startswith(("token_embd.", "model.embed_tokens.", "transformer.wte.", "wte.")):
        return EMBEDDINGS
    if name.startswith(("output.", "lm_head.")):
        return HEAD
    inside, module = _IN_LAYER.match(name) is not None, name.rpartition(".")[0]
    if dimensions == 1 and ("norm" in module or re.search(r"\bln_[12f]$", module)):
        return NORMS if inside or name.startswith(_LAST_NORM) else OTHER
    return LAYERS if inside and dimensions < _MASK_DIMENSIONS else OTHER


def _entry_part(entry: safetensors_file.Entry, *, tied: bool) -> Part:
    suffix = entry.name.rpartition(".")[2]
    component = component_of(entry.name, len(entry.shape))
    kind, weights = _kind(entry, suffix)
    return Part(
        component=component,
        kind=kind,
        stored_bytes=entry.end - entry.start,
        elements=entry.elements,
        parameters=weights if len(entry.shape) > 1 else 0,
        plain=suffix not in _BESIDE and entry.dtype in ("F32", "F16", "BF16"),
        read=_is_read(component, tied=tied) and kind != _ORDER,
    )


def _kind(entry: safetensors_file.Entry, suffix: str) -> tuple[str, int]:
    """The type by name, and how many weights of the model the tensor stands for."""
    if suffix in _PACKED:
        return "int4", entry.elements * _PACKED[suffix]
    if _NF4_STATE in entry.name:
        return "table", 0
    if suffix in _BESIDE:
        return _BESIDE[suffix], 0
    if suffix == "weight" and entry.dtype == "U8":
        return "nf4", 2 * entry.elements
    kind = _PLAIN.get(entry.dtype) or _EIGHT.get(entry.dtype) or entry.dtype.lower()
    return kind, entry.elements


def _tensor_part(tensor: gguf_file.Tensor, *, tied: bool) -> Part:
    component = component_of(tensor.name, len(tensor.shape))
    elements = 1
    for length in tensor.shape:
        elements *= length
    return Part(
        component=component,
        kind=tensor.kind,
        stored_bytes=tensor.size_bytes,
        elements=elements,
        parameters=elements if len(tensor.shape) > 1 else 0,
        plain=tensor.kind in ("f32", "f16", "bf16"),
        read=_is_read(component, tied=tied),
    )


def _is_read(component: str, *, tied: bool) -> bool:
    """A tensor that this module does not know is left out: the ceiling stays one from above."""
    return component in (LAYERS, HEAD, NORMS) or (component == EMBEDDINGS and tied)


def _unknown(parts: Iterable[Part], names: Iterable[str]) -> str:
    if any(_EXPERTS.search(name) for name in names):
        return "a mixture of experts: which of them a step reads depends on the tokens"
    if not any(part.component == LAYERS for part in parts):
        return "its tensors are not named as those of a Llama, Mistral, Qwen2 or GPT-2 are"
    return ""


def attention_of(config: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """As `dimensions_of`, from config.json; None where it does not say."""
    config = {**{name: config.get(own) for name, own in _GPT2_KEYS.items()}, **config}
    try:
        layers, heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
        size = int(config.get("head_dim") or config["hidden_size"] // heads)
        shared = int(config.get("num_key_value_heads") or heads)
    except (KeyError, TypeError, ValueError):
        return None, None
    return 2 * layers * shared * size, layers * heads * size


def _fused(header: gguf_file.GgufHeader) -> tuple[int | None, int | None]:
    """The same from a GGUF file's values, where query, key and value are one matrix."""
    told = {
        ours: header.values.get(f"{header.architecture}.{theirs}")
        for ours, theirs in {
            "num_hidden_layers": "block_count",
            "num_attention_heads": "attention.head_count",
            "num_key_value_heads": "attention.head_count_kv",
            "hidden_size": "embedding_length",
            "head_dim": "attention.key_length",
        }.items()
    }
    return attention_of({key: value for key, value in told.items() if value})
