"""The original weights computed in bfloat16."""

from quantswarm.models.recipes import Recipe
from quantswarm.models.store import serve_original

RECIPE = Recipe(
    name="bf16",
    format="safetensors",
    summary="original weights, computed in bfloat16",
    build=serve_original,
    serve_flags={"vllm": ("--dtype", "bfloat16"), "transformers": ("--dtype", "bfloat16")},
)
