"""`q2_k` guided by an importance matrix."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q2_k-im", "q2_k with an importance matrix, 3.2 bits a weight", importance=True)
