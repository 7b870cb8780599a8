"""The original weights, with a key-value cache of 8-bit floats: half the bytes of bfloat16."""

from quantswarm.models.recipes import Recipe
from quantswarm.models.store import serve_original

RECIPE = Recipe(
    name="fp8-kv",
    format="safetensors",
    summary="original weights, key-value cache in FP8 (e4m3), rounded to nearest",
    build=serve_original,
    serve_options={"vllm": {"kv_cache_dtype": "fp8"}},
)
