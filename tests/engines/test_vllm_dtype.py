"""What vLLM computes in around quantized weights or caches."""

from __future__ import annotations

import pytest

from quantswarm.engines import vllm_dtype
from quantswarm.models.errors import UnknownName

AVX2, BF16 = {"cpu_isa": "avx2"}, {"cpu_isa": "avx2,avx512f,avx512_bf16"}


def chosen(given, *, device="cpu", weights="gptq", recipes_own=()):
    reasons: dict[str, str] = {}
    return vllm_dtype.flags(given, device, weights, recipes_own, reasons), reasons


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (AVX2, "float32"),
        (BF16, "bfloat16"),
        ({**BF16, "isa": "avx2"}, "float32"),
        ({"cpu_isa": "avx2,amx_bf16"}, "bfloat16"),
        ({**BF16, "dtype": "float16"}, "float16"),
    ],
)
def test_quantized_weights_are_served_in_the_hosts_fastest_type(given, dtype):
    flags, reasons = chosen(given)
    assert flags == ("--dtype", dtype)
    assert dtype in reasons["dtype"]


def test_so_are_original_weights_with_a_quantized_cache():
    assert chosen({**AVX2, "kv_cache_dtype": "fp8"}, weights="safetensors")[0] == (
        "--dtype",
        "float32",
    )


@pytest.mark.parametrize(
    ("given", "how"),
    [
        (AVX2, {"weights": "safetensors"}),
        (AVX2, {"device": "cuda"}),
        (AVX2, {"recipes_own": ("--dtype", "float16")}),
        ({"cpu_isa": "asimd"}, {}),
        ({}, {}),
    ],
)
def test_the_rest_is_left_alone(given, how):
    assert chosen(given, **how) == ((), {})


def test_a_type_that_there_is_not():
    with pytest.raises(UnknownName, match="float32"):
        chosen({"dtype": "fp8"})
