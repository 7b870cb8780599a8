"""Is the checkpoint what it says? Every layer is unpacked and held against the original weights.

Rounding to nearest at the same width is the yardstick. Calibrated methods give up some closeness to
the weights to be closer in the outputs (GPTQ up to 1.35 times the error on `tiny`), so they are
allowed more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantswarm.models.errors import BuildFailed
from quantswarm.models.quantize import grouped, nearest
from quantswarm.models.quantize.tensors import Checkpoint

MARGIN: Mapping[str, float] = {"gptq": 2.0, "awq": 1.5, "int8": 1.05, "fp8": 1.05, "w4a16": 1.05}
"""Largest error of each method, as a multiple of rounding to nearest."""

_MARKS = {
    "gptq": "qweight",
    "awq": "qweight",
    "int8": "weight_scale",
    "fp8": "weight_scale",
    "w4a16": "weight_packed",
}
_FITTING_ROUNDS = 4


def layers(
    made: Checkpoint, original: Checkpoint, method: str, *, group_size: int, symmetric: bool
) -> list[dict[str, Any]]:
    """Error of each quantized layer; `BuildFailed` names those that are not what they should be."""
    found = []
    for name in quantized_layers(made, method):
        weight = original.float32(f"{name}.weight")
        wide, groups = dequantized(made, name, method)
        near = _nearest(weight, method, group_size, symmetric=symmetric)
        same = wide.shape == weight.shape
        if same and method == "awq":
            wide = unscaled(wide, weight)
        found.append(
            {
                "layer": name,
                "shape": list(wide.shape),
                "group_size": wide.shape[1] // groups,
                "relative_error": relative_error(wide, weight) if same else None,
                "nearest_error": relative_error(near, weight),
            }
        )
    _require(found, original, method, group_size)
    return found


def quantized_layers(made: Checkpoint, method: str) -> tuple[str, ...]:
    """The modules whose weights are quantized."""
    return made.layers(_MARKS[method])


def dequantized(made: Checkpoint, layer: str, method: str) -> tuple[Any, int]:
    """(the layer's weight as served, float32 [outputs, inputs]; its number of groups)."""
    parts = made.parts(layer)
    if method in ("int8", "fp8"):
        stored = parts["weight"]
        values = nearest.e4m3()[stored] if method == "fp8" else stored
        return values * parts["weight_scale"].reshape(-1, 1), 1
    if method == "gptq":
        config = made.config.get("quantization_config", {})
        second = config.get("checkpoint_format") == "gptq_v2"
        found = grouped.from_gptq(parts, stored_less_one=not second)
    else:
        found = grouped.from_awq(parts) if method == "awq" else grouped.from_packed(parts)
    return found.dequantized(), found.scales.shape[0]


def unscaled(wide: Any, weight: Any) -> Any:
    """`wide` without what AWQ multiplied into it: a factor an input, undone by the layer before,
    and a factor an output, undone by the layer after. Both are fitted to the original."""
    import numpy as np

    rows = np.ones((weight.shape[0], 1), np.float32)
    columns = np.ones((1, weight.shape[1]), np.float32)
    for _ in range(_FITTING_ROUNDS):
        columns = _factor(wide / rows, weight, axis=0)
        rows = _factor(wide / columns, weight, axis=1)
    return wide / rows / columns


def _factor(wide: Any, weight: Any, *, axis: int) -> Any:
    """The factors that make `weight` nearest to `wide` in least squares; 1 where it is nothing."""
    import numpy as np

    square = (weight * weight).sum(axis=axis, keepdims=True)
    product = (wide * weight).sum(axis=axis, keepdims=True)
    return np.where((square > 0) & (product > 0), product / np.where(square > 0, square, 1), 1)


def relative_error(wide: Any, weight: Any) -> float:
    """Root of the squared differences over that of the squared weights."""
    import numpy as np

    scale = float(np.linalg.norm(weight))
    return float(np.linalg.norm(wide - weight)) / scale if scale else 0.0


def _nearest(weight: Any, method: str, group_size: int, *, symmetric: bool) -> Any:
    if method == "int8":
        return nearest.int8(weight)
    if method == "fp8":
        return nearest.fp8(weight)
    return nearest.four_bit(weight, group_size, symmetric=symmetric).dequantized()


def _require(
    found: list[dict[str, Any]], original: Checkpoint, method: str, group_size: int
) -> None:
    faults = [f"{facts['layer']}: {fault}" for facts in found if (fault := _fault(facts, method))]
    if method in ("gptq", "awq", "w4a16"):
        faults += [
            f"{facts['layer']}: groups of {facts['group_size']}"
            for facts in found
            if facts["group_size"] != group_size
        ]
    missing = sorted(set(linear_layers(original)) - {facts["layer"] for facts in found})
    faults += [f"{name}: not quantized" for name in missing]
    if faults:
        more = f"\n… and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise BuildFailed(
            f"{method} checkpoint",
            "the library made something else than asked for",
            evidence="\n".join(faults[:5]) + more,
            next_step="report this with the versions that quantswarm doctor prints",
        )


def _fault(facts: Mapping[str, Any], method: str) -> str:
    error, near = facts["relative_error"], facts["nearest_error"]
    if error is None:
        return f"its shape is {facts['shape']}"
    if not error <= MARGIN[method] * near + 1e-3:  # true for NaN as well
        return f"relative error {error:.4f}, rounding to nearest has {near:.4f}"
    return ""


def linear_layers(original: Checkpoint) -> tuple[str, ...]:
    """The matrices inside the blocks: what all methods quantize; embeddings and head are left."""
    return tuple(
        name.removesuffix(".weight")
        for name, entry in original.entries.items()
        if name.endswith(".weight") and ".layers." in name and len(entry.shape) == 2
    )
