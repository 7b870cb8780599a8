"""GGUF of 4-bit values from a curved table, blocks of 32, importance matrix."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe(
    "iq4_nl",
    "4-bit GGUF of curved steps, importance matrix, 4.7 bits a weight",
    importance=True,
)
