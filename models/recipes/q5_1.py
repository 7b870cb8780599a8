"""GGUF of 5 bits: blocks of 32 with a scale and a minimum."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q5_1", "plain 5-bit GGUF with minima, 6.1 bits a weight")
