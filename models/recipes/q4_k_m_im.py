"""`q4_k_m` guided by an importance matrix."""

from quantswarm.models.gguf_quantize import recipe

RECIPE = recipe(
    "q4_k_m-im", "q4_k_m with an importance matrix, about BPW bits a weight", importance=True
)
