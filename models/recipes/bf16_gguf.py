"""GGUF with bfloat16 matrices: the range of bfloat16, without its cost in vLLM."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("bf16-gguf", "bfloat16 GGUF, 16 bits a weight")
