"""GGUF of 5 bits in super-blocks of 256, few tensors wider."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q5_k_s", "5-bit GGUF of super-blocks, small, 5.6 bits a weight")
