"""FP8, W8A8 in e4m3, for GPUs: no CPU multiplies 8-bit floats."""

from quantswarm.models.quantize.build import Method, recipe

RECIPE = recipe(
    Method(name="fp8", calibrated=False, grouped=False),
    "8-bit float weights and activations (W8A8), GPUs only",
    format="compressed-tensors",
    devices=("cuda",),
)
