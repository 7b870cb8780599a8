"""GGUF of 4.5 bits a weight: blocks of 32 with one scale, the plainest 4-bit type."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q4_0", "plain 4-bit GGUF, 4.7 bits a weight")
