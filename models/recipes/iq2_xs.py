"""GGUF of 2 bits by a small code book; made with an importance matrix only."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe(
    "iq2_xs",
    "small 2-bit GGUF by code book, importance matrix, 2.6 bits a weight",
    importance=True,
)
