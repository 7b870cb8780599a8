"""As `fp8-kv`, written by vLLM's own code: for comparison, where it runs (AVX-512, AMX, GPUs)."""

from quantswarm.models.recipes import Recipe
from quantswarm.models.store import serve_original

RECIPE = Recipe(
    name="fp8-kv-upstream",
    format="safetensors",
    summary="as fp8-kv, by vLLM's own writer, which truncates on CPUs with AVX-512",
    build=serve_original,
    serve_options={"vllm": {"kv_cache_dtype": "fp8-upstream"}},
)
