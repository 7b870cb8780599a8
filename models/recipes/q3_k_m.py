"""GGUF of 3 bits in super-blocks of 256, some tensors in 4 and 5 bits."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q3_k_m", "3-bit GGUF of super-blocks, 4.0 bits a weight")
