"""GPTQ's layout, rounded to nearest without calibration: its kernels and bytes for speed alone."""

from quantswarm.models.quantize.rounded import recipe
from quantswarm.models.quantize.rounded_layouts import GPTQ

RECIPE = recipe(
    GPTQ,
    "4-bit weights in GPTQ's layout rounded to nearest, groups of 128, for speed alone",
    format="gptq",
    devices=("cpu", "cuda"),
)
