"""AWQ's layout, rounded to nearest without calibration: its kernels and bytes for speed alone."""

from quantswarm.models.quantize.rounded import recipe
from quantswarm.models.quantize.rounded_layouts import AWQ

RECIPE = recipe(
    AWQ,
    "4-bit weights in AWQ's layout rounded to nearest, groups of 128, for speed alone",
    format="awq",
    devices=("cpu", "cuda"),
)
