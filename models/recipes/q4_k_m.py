"""GGUF of about 4.8 bits a weight: 4-bit super-blocks of 256, some tensors in 6 bits."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q4_k_m", "4-bit GGUF of super-blocks, 4.9 bits a weight", aliases=("int4",))
