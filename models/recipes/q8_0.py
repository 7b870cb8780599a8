"""GGUF of 8.5 bits a weight: blocks of 32 signed bytes with one float16 scale."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q8_0", "8-bit GGUF, 8.5 bits a weight")
