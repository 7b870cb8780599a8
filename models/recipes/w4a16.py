"""4-bit weights in compressed-tensors' layout, rounded to nearest."""

from quantswarm.models.quantize.build import Method, recipe

RECIPE = recipe(
    Method(name="w4a16", calibrated=False, grouped=True),
    "4-bit weights rounded to nearest, groups of 128",
    format="compressed-tensors",
)
