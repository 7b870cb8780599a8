"""GGUF of 4-bit values from a curved table, super-blocks of 256, importance matrix."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe(
    "iq4_xs",
    "4-bit GGUF of curved steps, importance matrix, 4.4 bits a weight",
    importance=True,
)
