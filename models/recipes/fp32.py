"""The original weights computed in float32: the reference, and the fastest without AVX-512."""

from quantswarm.models.recipes import Recipe
from quantswarm.models.store import serve_original

RECIPE = Recipe(
    name="fp32",
    format="safetensors",
    summary="original weights, computed in float32",
    build=serve_original,
    serve_flags={"vllm": ("--dtype", "float32"), "transformers": ("--dtype", "float32")},
)
