"""The type that vLLM computes in where the quantization leaves it open: the host's fastest."""

from __future__ import annotations

from collections.abc import Mapping

from quantswarm.engines import options, vllm_isa
from quantswarm.engines.vllm_kv import OPTION as CACHE
from quantswarm.models.errors import UnknownName

OPTION = "dtype"
CHOICES = ("float32", "bfloat16", "float16")
_BF16 = {"avx512_bf16", "amx_bf16"}


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
    float32, which vLLM would not choose by itself. `UnknownName` for a type that there is not.
    """
    asked = given.get(OPTION)
    if asked is not None:
        if asked not in CHOICES:
            raise UnknownName(
                f"option {OPTION}", asked, CHOICES, next_step=f"--option {OPTION}=float32"
            )
        reasons[OPTION] = f"--option {OPTION}={asked}"
        return ("--dtype", asked)
    isa = vllm_isa.left(given)
    quantized = weights != "safetensors" or given.get(CACHE, "auto") != "auto"
    if device != "cpu" or not quantized or "avx2" not in isa:
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
