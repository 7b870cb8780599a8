"""The original weights computed in float16."""

from quantswarm.models.recipes import Recipe
from quantswarm.models.store import serve_original

RECIPE = Recipe(
    name="fp16",
    format="safetensors",
    summary="original weights, computed in float16",
    build=serve_original,
    serve_flags={"vllm": ("--dtype", "float16"), "transformers": ("--dtype", "float16")},
)
