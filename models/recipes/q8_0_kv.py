"""Weights of `f16`; the key-value cache in 8.5 bits a number in place of 16."""

from quantswarm.models.gguf_quantize import cache_recipe

RECIPE = cache_recipe("q8_0", 8)
