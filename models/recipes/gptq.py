"""GPTQ: 4 bits, groups of 128, each column's error made up for by the columns after it."""

from quantswarm.models.quantize.build import Method, recipe

RECIPE = recipe(
    Method(name="gptq", calibrated=True, grouped=True),
    "4-bit weights by GPTQ, calibrated, groups of 128",
    format="gptq",
)
