"""The layers of a checkpoint of 4-bit weights: their shapes, and whether its groups fit them."""

from __future__ import annotations

from quantswarm.models.errors import BadFile, UnsupportedPair
from quantswarm.models.hf_folder import HfFolder

_WEIGHTS = {"gptq": ".qweight", "awq": ".qweight", "w4a16": ".weight_packed"}
_BESIDE = {
    "gptq": (".scales", ".qzeros"),
    "awq": (".scales", ".qzeros"),
    "w4a16": (".weight_scale",),
}
"""What else each layer must have; the first has one entry a group."""


def matrices(folder: HfFolder, quant: str) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each layer of 4-bit weights; nothing for other kinds."""
    end = _WEIGHTS.get(quant)
    found = {}
    for entry in folder.tensors if end else ():
        if end and entry.name.endswith(end) and len(entry.shape) == 2:
            rows, columns = entry.shape
            across = {"gptq": (rows * 8, columns), "awq": (rows, columns * 8)}
            found[entry.name.removesuffix(end)] = across.get(quant, (columns * 8, rows))
    return found


def require_groups(folder: HfFolder, quant: str, group_size: int | None, asked: str) -> None:
    """Scales for every group of every layer; `UnsupportedPair` where groups do not divide the
    inputs, `BadFile` where tensors are missing or are not what the config says."""
    if quant not in _WEIGHTS:
        return
    layers = matrices(folder, quant)
    if not layers:
        raise BadFile(
            asked,
            f"no {quant.upper()} weights ({_WEIGHTS[quant][1:]})",
            next_step="copy it again",
        )
    shapes = {entry.name: entry.shape for entry in folder.tensors}
    for layer, (inputs, _) in layers.items():
        missing = [end[1:] for end in _BESIDE[quant] if f"{layer}{end}" not in shapes]
        if missing:
            raise BadFile(
                asked, f"{layer} has no {' and no '.join(missing)}", next_step="copy it again"
            )
        scales = shapes[f"{layer}{_BESIDE[quant][0]}"]
        _require_dividing(group_size, inputs, scales[1 if quant == "w4a16" else 0], layer, asked)


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
