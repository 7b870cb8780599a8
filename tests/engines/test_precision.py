"""What engines say they compute with: from the command, and from a log's own words."""

from __future__ import annotations

import pytest

from quantswarm.engines.base import Precision
from quantswarm.engines.options import last_given
from quantswarm.engines.registry import engines

VLLM_LOG = "INFO Initializing a V1 LLM engine with config: model='x', dtype=torch.bfloat16, seed=0"


@pytest.mark.parametrize(
    ("name", "argv", "log", "expected"),
    [
        ("vllm", ("--dtype", "float"), "", Precision(dtype="float32")),
        ("vllm", ("--dtype=half",), "", Precision(dtype="float16")),
        ("vllm", (), VLLM_LOG, Precision(dtype="bfloat16")),
        ("vllm", ("--dtype", "float32"), VLLM_LOG, Precision(dtype="bfloat16")),
        (
            "vllm",
            ("--dtype", "bfloat16", "--kv-cache-dtype", "fp8"),
            "",
            Precision(dtype="bfloat16", keys="e4m3", values="e4m3"),
        ),
        ("vllm", ("--kv-cache-dtype", "auto"), "", Precision()),
        (
            "llamacpp",
            (),
            "",
            Precision(dtype="float32", keys="float16", values="float16"),
        ),
        (
            "llamacpp",
            ("-ctk", "q8_0", "--cache-type-v", "q4_0"),
            "",
            Precision(dtype="float32", keys="rotated q8_0", values="rotated-64 q4_0"),
        ),
        (
            "onnxruntime",
            (),
            "",
            Precision(dtype="float32", keys="float32", values="float32"),
        ),
        ("scripted", (), "", Precision()),
    ],
)
def test_precision(name, argv, log, expected):
    assert engines()[name].precision(argv, log) == expected


def test_the_last_of_an_option_holds():
    assert last_given(("-a", "1", "--long=2", "-a", "3"), "-a", "--long") == "3"
    assert last_given(("-a",), "-a") is None
    assert last_given((), "-a") is None


def test_engines_name_a_dialect_that_exists():
    from quantswarm.bench.verify.answers import DIALECTS

    told = {engine.logprobs_by for engine in engines().values()} - {None}
    assert told == set(DIALECTS)
