"""GGUF of 2 bits by a code book; llama.cpp makes it with an importance matrix only."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe(
    "iq2_s", "2-bit GGUF by code book, importance matrix, 2.8 bits a weight", importance=True
)
