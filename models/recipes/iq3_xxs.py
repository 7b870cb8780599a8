"""GGUF of 3 bits by a small code book, importance matrix."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe(
    "iq3_xxs",
    "small 3-bit GGUF by code book, importance matrix, 3.3 bits a weight",
    importance=True,
)
