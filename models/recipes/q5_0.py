"""GGUF of 5 bits: blocks of 32 with one scale."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q5_0", "plain 5-bit GGUF, 5.6 bits a weight")
