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
from quantswarm.models.quantized_layers import require_groups

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
    """`quant` is the recipe whose result looks the same; `group_size` None where there is none.

    `reordered`: its groups are made of inputs in the order of their activations (`desc_act`), so
    that each input names its group; with one group a channel there is nothing to order.
    """

    quant: str
    method: str
    group_size: int | None = None
    reordered: bool = False


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
    require_groups(folder, found.quant, found.group_size, asked)
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
    size = _group(config, asked)
    ordered, symmetric = (_flag(config, name, asked) for name in ("desc_act", "sym"))
    if not symmetric:
        raise _unsupported(asked, "GPTQ with zero points (sym is false; AWQ carries them)")
    uneven = _set_by_layer(config)
    if uneven:
        raise _unsupported(asked, f"GPTQ with {' and '.join(uneven)} that differ by layer")
    return Quantized(quant="gptq", method="GPTQ", group_size=size, reordered=ordered and size != -1)


def _set_by_layer(config: Mapping[str, Any]) -> list[str]:
    """What GPTQModel's rules by layer (`dynamic`) change; rules that leave layers out are fine."""
    rules = config.get("dynamic") or {}
    changed = {
        name
        for pattern, rule in rules.items()
        if not str(pattern).startswith("-:") and isinstance(rule, Mapping)
        for name, value in rule.items()
        if value != config.get(name)
    }
    return sorted(changed & {"bits", "group_size", "sym", "desc_act"})


def _awq(config: Mapping[str, Any], asked: str) -> Quantized:
    bits = config.get("bits", config.get("w_bit"))
    version = str(config.get("version", "gemm")).lower()
    if bits != 4 or version != "gemm":
        raise _unsupported(asked, f"AWQ with {bits} bits in the layout {version!r}")
    _flag(config, "zero_point", asked)
    return Quantized(quant="awq", method="AWQ", group_size=_group(config, asked))


def _flag(config: Mapping[str, Any], name: str, asked: str) -> bool:
    """vLLM guesses none of these either, and ends without them."""
    found = config.get(name)
    if not isinstance(found, bool):
        raise BadFile(
            asked,
            f"its quantization_config says {name}: {found!r}, where true or false belongs",
            next_step="copy config.json again",
        )
    return found


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
    first = next(iter(groups.values()))
    weights = first["weights"]
    _require_layout(quant, first.get("format") or config.get("format"), weights, asked)
    return Quantized(
        quant=quant,
        method="compressed-tensors",
        group_size=weights.get("group_size") if quant == "w4a16" else None,
        reordered=weights.get("actorder") in ("group", "dynamic"),
    )


def _require_layout(quant: str, layout: object, weights: Mapping[str, Any], asked: str) -> None:
    """How the tensors lie, beside their types."""
    if quant == "w4a16" and layout != "pack-quantized":
        raise _unsupported(asked, f"compressed-tensors w4a16 in the layout {layout!r}")
    strategy = weights.get("strategy") or "tensor"
    if quant == "int8" and strategy not in ("tensor", "channel"):
        raise _unsupported(asked, f"compressed-tensors int8 with one scale a {strategy}")


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
