"""GGUF of 3 bits in super-blocks of 256, the smallest mixture."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q3_k_s", "3-bit GGUF of super-blocks, small, 3.7 bits a weight")
