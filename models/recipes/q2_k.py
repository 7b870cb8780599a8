"""GGUF of 2 bits in super-blocks of 256, many tensors in 3 bits and more."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q2_k", "2-bit GGUF of super-blocks, 3.2 bits a weight")
