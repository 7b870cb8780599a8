"""`q3_k_m` guided by an importance matrix."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe("q3_k_m-im", "q3_k_m with an importance matrix, 4.0 bits a weight", importance=True)
