"""GGUF of 4 bits in super-blocks of 256, few tensors wider."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q4_k_s", "4-bit GGUF of super-blocks, small, 4.7 bits a weight")
