"""PyTorch's dynamic INT8: linear layers in 8 bits, activations rounded as they come."""

from quantswarm.models.recipes import Recipe
from quantswarm.models.store import serve_original

RECIPE = Recipe(
    name="int8-dynamic",
    format="safetensors",
    summary="linear layers in INT8 at load, by PyTorch (dynamic)",
    build=serve_original,
    serve_flags={"transformers": ("--quantize", "int8-dynamic", "--dtype", "float32")},
    devices=("cpu",),
)
