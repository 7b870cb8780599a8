"""GGUF with float16 matrices: what the quantized ones are made from and compared with."""

from quantswarm.models.gguf_quantize import build_f16
from quantswarm.models.recipes import Recipe

RECIPE = Recipe(
    name="f16",
    format="gguf",
    summary="float16 GGUF, converted from the original",
    build=build_f16,
)
