"""FP8, W8A8 in e4m3, rounded to nearest by numpy alone: no quantizing library, for GPUs."""

from quantswarm.models.quantize.rounded import recipe
from quantswarm.models.quantize.rounded_layouts import FP8

RECIPE = recipe(
    FP8,
    "8-bit float weights and activations (W8A8) rounded to nearest, GPUs only",
    format="compressed-tensors",
    devices=("cuda",),
)
