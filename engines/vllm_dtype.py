"""The type that vLLM computes in where the quantization leaves it open: the host's fastest."""

from __future__ import annotations

from collections.abc import Mapping

from quantswarm.engines import options, vllm_isa, vllm_products
from quantswarm.engines.vllm_kv import OPTION as CACHE
from quantswarm.models.errors import UnknownName, UserMistake

OPTION = "dtype"
CHOICES = ("float32", "bfloat16", "float16")
_BF16 = {"avx512_bf16", "amx_bf16"}
_LEFT_TO_UPSTREAM = ("gptq", "awq")
"""vLLM computes in 16 bits around these; only our kernels' plugin allows float32."""


def flags(
    given: Mapping[str, str],
    device: str,
    weights: str,
    recipes_own: tuple[str, ...],
    reasons: dict[str, str],
) -> tuple[str, ...]:
    """`--dtype` for vLLM, nothing where the recipe or vLLM itself shall choose.

    Around quantized weights or a quantized cache (`weights` is their format) everything else can be
    computed in any type. x86 processors without bfloat16 products are several times faster in
    float32, which vLLM would not choose by itself. `UnknownName` for a type that there is not,
    `UserMistake` for one that vLLM's own 4-bit product does not take.
    """
    asked = given.get(OPTION)
    upstream = device == "cpu" and weights in _LEFT_TO_UPSTREAM
    upstream = upstream and vllm_products.asked(vllm_products.FOUR_BIT, given) == "upstream"
    if asked is not None:
        if asked not in CHOICES:
            raise UnknownName(
                f"option {OPTION}", asked, CHOICES, next_step=f"--option {OPTION}=float32"
            )
        if upstream and asked == "float32":
            raise UserMistake(
                f"option {OPTION}={asked} with {vllm_products.FOUR_BIT}=upstream",
                f"vLLM's own product of {weights} weights takes bfloat16 and float16 only",
                next_step=f"--option {OPTION}=bfloat16, or leave {vllm_products.FOUR_BIT} out",
            )
        reasons[OPTION] = f"--option {OPTION}={asked}"
        return ("--dtype", asked)
    isa = vllm_isa.left(given)
    quantized = weights != "safetensors" or given.get(CACHE, "auto") != "auto"
    if device != "cpu" or not quantized or upstream or "avx2" not in isa:
        return ()
    if options.last_given(recipes_own, "--dtype") is not None:
        return ()
    native = bool(_BF16 & isa)
    reasons[OPTION] = (
        "bfloat16: this CPU multiplies it natively"
        if native
        else "float32: this CPU has no bfloat16 products, and emulates them slowly"
    )
    return ("--dtype", "bfloat16" if native else "float32")
