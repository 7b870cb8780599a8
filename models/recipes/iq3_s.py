"""GGUF of 3 bits by a code book, importance matrix."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe(
    "iq3_s", "3-bit GGUF by code book, importance matrix, 3.7 bits a weight", importance=True
)
