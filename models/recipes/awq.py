"""AWQ: 4 bits, groups of 128 with a zero point, inputs that matter scaled up before rounding."""

from quantswarm.models.quantize.build import AWQ_DEFAULTS, Method, recipe

RECIPE = recipe(
    Method(name="awq", calibrated=True, grouped=True, defaults=AWQ_DEFAULTS),
    "4-bit weights by AWQ, calibrated, groups of 128",
    format="awq",
)
