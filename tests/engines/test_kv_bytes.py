"""Bytes of a token's cache, by the type that the engine says."""

from __future__ import annotations

import pytest

from quantswarm.engines.base import Precision
from quantswarm.engines.kv_bytes import bytes_per_token
from quantswarm.engines.registry import engine_named


@pytest.mark.parametrize(
    ("engine", "argv", "expected"),
    [
        ("vllm", ("--dtype", "float32"), 4 * 2048),
        ("vllm", ("--dtype", "bfloat16"), 2 * 2048),
        ("vllm", ("--dtype", "bfloat16", "--kv-cache-dtype", "fp8"), 2048),
        ("llamacpp", (), 2 * 2048),
        ("llamacpp", ("-ctk", "q8_0", "-ctv", "q8_0"), 2048 * 34 / 32),
        ("llamacpp", ("-ctk", "f16", "-ctv", "q4_0"), 2048 + 1024 * 18 / 32),
        ("llamacpp-python", (), 2 * 2048),
        ("llamacpp-python", ("--type_k", "8", "--type_v", "8"), 2048 * 34 / 32),
        ("llamacpp-python", ("--type_k", "99"), None),
        ("vllm", (), None),
    ],
)
def test_bytes_of_a_token(engine: str, argv: tuple[str, ...], expected: float | None) -> None:
    told = engine_named(engine).precision(argv, "")
    dtype = told.dtype if engine == "vllm" else None
    assert bytes_per_token(2048, told, dtype) == expected


def test_a_type_without_a_size_is_not_guessed() -> None:
    assert bytes_per_token(2048, Precision(keys="int3", values="int3"), "float32") is None
