"""`quantswarm physics`: a card without a server, for weights that are there and that are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.cli import main
from quantswarm.engines.host_speed import measured

ANSWER = {
    "bandwidths": [
        {"size_bytes": 2**21, "gb_s": 50.0, "spread": 0.1, "by": "sum"},
        {"size_bytes": 2**29, "gb_s": 10.0, "spread": 0.1, "by": "dot"},
    ],
    "rates": [
        {"dtype": "float32", "gflops": 100.0, "spread": 0.0, "side": 512},
        {"dtype": "int8", "gflops": 900.0, "spread": 0.0, "side": 512},
    ],
    "torch": "9.9",
    "limits": {},
}


@pytest.fixture(autouse=True)
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A home of its own, and a machine whose figures are made up."""
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path))
    requests: list[Any] = []

    def in_child(request: Any) -> dict[str, Any]:
        requests.append(request)
        return ANSWER

    monkeypatch.setattr(measured, "in_child", in_child)
    return requests


def document(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["physics", "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def test_seven_billion_weights_in_four_bits(
    capsys: pytest.CaptureFixture[str], asked: list[Any]
) -> None:
    words = ("--engine", "llamacpp", "--quant", "int4", "--model", "synthetic/7b", "--users", "4")
    code, found = document(capsys, *words)
    assert code == 0
    assert (found["quant"], found["users"], found["streams"]) == ("q4_k_m", 4, 4)
    assert 4.2e9 < found["weights_bytes_per_token"] < 4.4e9
    assert found["kv_bytes_per_token"] == 2 * 32 * 8 * 128 * 2
    step_s = (found["weights_bytes_per_token"] + 4 * 160 * found["kv_bytes_per_token"]) / 10e9
    assert found["decode_tok_s"] == pytest.approx(4 / step_s)
    assert found["host"]["dtype"] == "int8"
    linear = [part for part in found["weight_parts"] if part["part"] == "linear"]
    assert [(part["dtype"], part["bits_per_weight"]) for part in linear] == [
        ("q4_k", 4.5),
        ("q6_k", 6.5625),
    ]
    document(capsys, *words)
    assert len(asked) == 1
    document(capsys, *words, "--measure-host")
    assert len(asked) == 2


def test_tiny_in_float32_reads_twice_what_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = document(capsys, "--engine", "vllm", "--quant", "fp32")
    assert code == 0
    assert found["weights_bytes_per_token"] == 2 * found["stored_bytes_per_token"]
    assert found["kv_bytes_per_token"] == 2 * 8 * 2 * 64 * 4
    assert found["host"]["bandwidth_gb_s"] == 50.0
    assert main(["physics", "--engine", "vllm", "--quant", "fp32"]) == 0
    shown = capsys.readouterr().out
    assert "embeddings  bfloat16   1,048,576   0            float32" in shown
    assert "embeddings  bfloat16   1,048,576   524,288    16.0" in shown
    assert "ceiling of decoding, 1 at once: " in shown


def test_a_mixture_that_is_not_built_is_not_guessed(
    capsys: pytest.CaptureFixture[str], asked: list[Any]
) -> None:
    words = ("--engine", "llamacpp", "--quant", "q2_k", "--model", "synthetic/7b")
    code, found = document(capsys, *words)
    assert code == 1
    assert found["decode_tok_s"] is None
    assert found["weight_parts"] is None
    assert "once they are made" in found["unknown"]["weights"]
    assert asked == []


def test_an_engine_without_weights_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["physics", "--engine", "scripted"]) == 2
    assert "serves no weights" in capsys.readouterr().err
