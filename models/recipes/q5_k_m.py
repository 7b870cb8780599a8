"""GGUF of about 5.7 bits a weight: 5-bit super-blocks of 256, some tensors in 6 bits."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q5_k_m", "5-bit GGUF of super-blocks, 5.7 bits a weight")
