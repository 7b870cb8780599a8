"""GGUF of 4 bits: blocks of 32 with a scale and a minimum."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q4_1", "plain 4-bit GGUF with minima, 5.1 bits a weight")
