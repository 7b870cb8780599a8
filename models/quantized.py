"""Checkpoints that come quantized: what they are, by the `quantization_config` they carry.

They are served as they are, under the quantization that they have; everything else is refused with
the reason before a server starts. Only headers are read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quantswarm.models.errors import BadFile, UnsupportedPair
from quantswarm.models.hf_folder import HfFolder

_SERVED = "4-bit gptq and awq; compressed-tensors int8 and fp8 (W8A8) and w4a16"
_SCHEMES: Mapping[tuple[Any, Any, Any], str] = {
    ("int", 8, 8): "int8",
    ("float", 8, 8): "fp8",
    ("int", 4, None): "w4a16",
}
"""Type and bits of the weights, bits of the activations."""

_NEXT = "give the model's original folder, or a checkpoint of one of these"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """`quant` is the recipe whose result looks the same; `group_size` None where there is none."""

    quant: str
    method: str
    group_size: int | None = None


def recognise(folder: HfFolder, asked: str) -> Quantized | None:
    """What the folder holds, None for ordinary weights. `UnsupportedPair` for methods that are not
    served, `BadFile` where the tensors are not what the config says."""
    config = folder.config.get("quantization_config")
    if config is None:
        return None
    if not isinstance(config, Mapping):
        raise BadFile(asked, "its quantization_config is no object", next_step="copy it again")
    method = str(config.get("quant_method", "")).lower()
    known = _METHODS.get(method)
    if known is None:
        raise _unsupported(asked, f"quantization method {method or 'without a name'!r}")
    found = known(config, asked)
    if found.quant in ("gptq", "awq"):
        _require_groups(folder, found, asked)
    elif found.group_size is not None:
        _require_packed(folder, found.group_size, asked)
    return found


def require_same(quantized: Quantized | None, quant: str, model: str) -> None:
    """`UnsupportedPair` where the model is quantized already, and not as `quant`."""
    if quantized is not None and quantized.quant != quant:
        raise UnsupportedPair(
            f"quantization {quant!r} of {model}",
            f"its weights are {quantized.quant} already ({quantized.method}), and what rounding"
            " took away does not come back",
            evidence=f"Choices: {quantized.quant}.",
            next_step=f"--quant {quantized.quant}, or give the model's original folder",
        )


def _gptq(config: Mapping[str, Any], asked: str) -> Quantized:
    bits = config.get("bits")
    if bits != 4:
        raise _unsupported(asked, f"GPTQ with {bits} bits")
    if config.get("checkpoint_format", "gptq") not in ("gptq", "gptq_v2"):
        raise _unsupported(asked, f"GPTQ in the layout {config['checkpoint_format']!r}")
    return Quantized(quant="gptq", method="GPTQ", group_size=_group(config, asked))


def _awq(config: Mapping[str, Any], asked: str) -> Quantized:
    bits = config.get("bits", config.get("w_bit"))
    version = str(config.get("version", "gemm")).lower()
    if bits != 4 or version != "gemm":
        raise _unsupported(asked, f"AWQ with {bits} bits in the layout {version!r}")
    return Quantized(quant="awq", method="AWQ", group_size=_group(config, asked))


def _group(config: Mapping[str, Any], asked: str) -> int:
    """-1 is one group for all the inputs of a matrix."""
    size = config.get("group_size", config.get("q_group_size"))
    if not isinstance(size, int) or (size < 1 and size != -1):
        raise BadFile(asked, f"its group_size is {size!r}", next_step="copy config.json again")
    return size


def _compressed(config: Mapping[str, Any], asked: str) -> Quantized:
    groups = config.get("config_groups")
    if not isinstance(groups, Mapping) or not groups:
        raise BadFile(
            asked, "its quantization_config has no config_groups", next_step="copy it again"
        )
    found = {_scheme(group) for group in groups.values() if isinstance(group, Mapping)}
    if len(found) != 1 or None in found:
        kinds = ", ".join(sorted(_spoken(group) for group in groups.values()))
        raise _unsupported(asked, f"compressed-tensors with {kinds}")
    (quant,) = found
    assert quant is not None
    weights = next(iter(groups.values()))["weights"]
    size = weights.get("group_size") if quant == "w4a16" else None
    return Quantized(quant=quant, method="compressed-tensors", group_size=size)


def _scheme(group: Mapping[str, Any]) -> str | None:
    weights, inputs = group.get("weights") or {}, group.get("input_activations") or {}
    kind = (weights.get("type"), weights.get("num_bits"), inputs.get("num_bits"))
    return _SCHEMES.get(kind)


def _spoken(group: Any) -> str:
    if not isinstance(group, Mapping):
        return "an entry that cannot be read"
    weights, inputs = group.get("weights") or {}, group.get("input_activations") or {}
    return (
        f"{weights.get('num_bits')}-bit {weights.get('type')} weights"
        f" and {inputs.get('num_bits', 16)}-bit activations"
    )


_METHODS: Mapping[str, Callable[[Mapping[str, Any], str], Quantized]] = {
    "gptq": _gptq,
    "awq": _awq,
    "compressed-tensors": _compressed,
}


def _unsupported(asked: str, found: str) -> UnsupportedPair:
    return UnsupportedPair(
        asked,
        f"{found}, which no engine here serves",
        evidence=f"Ready-made checkpoints that are served: {_SERVED}.",
        next_step=_NEXT,
    )


def _require_groups(folder: HfFolder, found: Quantized, asked: str) -> None:
    """Words of eight values and one row of scales a group, in every quantized layer."""
    shapes = {entry.name: entry.shape for entry in folder.tensors}
    layers = [name.removesuffix(".qweight") for name in shapes if name.endswith(".qweight")]
    if not layers:
        raise BadFile(asked, f"no {found.method} weights (qweight)", next_step="copy it again")
    for layer in layers:
        packed, scales = shapes[f"{layer}.qweight"], shapes.get(f"{layer}.scales")
        zeros = shapes.get(f"{layer}.qzeros")
        inputs = packed[0] * (8 if found.quant == "gptq" else 1)
        if scales is None or zeros is None:
            raise BadFile(asked, f"{layer} has no scales or qzeros", next_step="copy it again")
        _require_dividing(found.group_size, inputs, scales[0], layer, asked)


def _require_packed(folder: HfFolder, group_size: int, asked: str) -> None:
    shapes = {entry.name: entry.shape for entry in folder.tensors}
    for name, shape in shapes.items():
        if name.endswith(".weight_packed"):
            layer = name.removesuffix(".weight_packed")
            scales = shapes.get(f"{layer}.weight_scale")
            if scales is None:
                raise BadFile(asked, f"{layer} has no weight_scale", next_step="copy it again")
            _require_dividing(group_size, shape[1] * 8, scales[1], layer, asked)


def _require_dividing(
    group_size: int | None, inputs: int, groups: int, layer: str, asked: str
) -> None:
    size = inputs if group_size in (-1, None) else group_size
    if inputs % size:
        raise UnsupportedPair(
            asked,
            f"groups of {size} do not divide the {inputs} inputs of {layer}",
            next_step="a checkpoint with a group size that does",
        )
    if groups != inputs // size:
        raise BadFile(
            asked,
            f"{layer} has {groups} groups, its config says {inputs // size} (of {size})",
            next_step="copy config.json and the weights from the same place",
        )
