"""NF4 by bitsandbytes: linear layers in 4-bit normal floats, their scales in 8 bits."""

from quantswarm.models.recipes import Recipe
from quantswarm.models.store import serve_original

RECIPE = Recipe(
    name="bnb-nf4",
    format="safetensors",
    summary="linear layers in NF4 at load, by bitsandbytes",
    build=serve_original,
    serve_flags={"transformers": ("--quantize", "bnb-nf4")},
)
