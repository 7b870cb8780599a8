"""GGUF of 3 bits in super-blocks of 256, more tensors in 5 bits."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q3_k_l", "3-bit GGUF of super-blocks, large, 4.3 bits a weight")
