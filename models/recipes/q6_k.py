"""GGUF of 6 bits in super-blocks of 256."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q6_k", "6-bit GGUF of super-blocks, 6.6 bits a weight")
