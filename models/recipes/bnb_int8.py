"""LLM.int8() by bitsandbytes: linear layers in 8 bits, outliers apart; float16 around them."""

from quantswarm.models.recipes import Recipe
from quantswarm.models.store import serve_original

RECIPE = Recipe(
    name="bnb-int8",
    format="safetensors",
    summary="linear layers in INT8 at load, by bitsandbytes",
    build=serve_original,
    serve_flags={"transformers": ("--quantize", "bnb-int8", "--dtype", "float16")},
)
