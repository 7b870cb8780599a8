"""The engine's own decisions: rows of a batch, cores, warnings, and what its log tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantswarm.engines.base import ServeSpec
from quantswarm.engines.hardware import Host
from quantswarm.engines.onnxruntime import ENGINE
from quantswarm.engines.options import last_given
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import NoSpace, UserMistake

LOG = """\
onnxruntime 1.31.1
onnxruntime product: MatMulNBits,bits=4,block_size=32,accuracy_level=4 x41
key-value cache: float32, 4 x 256 tokens at most
"""
SPEC = ServeSpec(
    host="127.0.0.1",
    port=1,
    served_name="m",
    threads=2,
    cores=(0, 1),
    slots=8,
    context_tokens=256,
)
ARTEFACT = Artefact(
    path=Path("weights"),
    format="onnx",
    model="m",
    quant="onnx-int4",
    weights_bytes=1000,
    sha256="",
    tokenizer=None,
    context_tokens=2048,
    random_weights=False,
)


def given(name: str, **changes: Any) -> str | None:
    return last_given(ENGINE.command(ARTEFACT, replace(SPEC, **changes), ()).argv, name)


def test_a_batch_has_at_most_what_the_library_can() -> None:
    assert given("--slots") == "4"
    assert given("--slots", slots=2) == "2"
    assert given("--slots", options={"batching": "off"}) == "1"
    assert "the others wait" in ENGINE.command(ARTEFACT, SPEC, ()).reasons["--slots"]


def test_options_that_are_none() -> None:
    with pytest.raises(UserMistake, match="static or off"):
        given("--slots", options={"batching": "continuous"})
    with pytest.raises(UserMistake, match="batch_wait"):
        given("--slots", options={"batch_wait": "1"})


def test_threads_stay_on_their_cores_where_they_have_any() -> None:
    assert given("--cores") == "0,1"
    assert given("--cores", threads=3) is None
    assert given("--threads", threads=3) == "3"


def test_the_key_is_read_at_launch() -> None:
    command = ENGINE.command(ARTEFACT, replace(SPEC, api_key_file=Path("key")), ())
    assert list(command.env.values()) == ["@file:key"]


def test_the_log_names_products_and_cache() -> None:
    kernel = "onnxruntime:MatMulNBits,bits=4,block_size=32,accuracy_level=4"
    assert ENGINE.kernels(LOG) == (kernel,)
    assert ENGINE.served_with(LOG) == {
        "kernel": kernel,
        "kv_cache_dtype": "float32",
        "kv_cache_tokens": 1024,
    }


def test_a_silent_log_is_not_guessed_from() -> None:
    assert set(ENGINE.served_with("").values()) == {None}


def test_weights_beyond_memory_are_refused_with_figures() -> None:
    with pytest.raises(NoSpace, match=r"onnx-int4 of m .* needs .* of memory"):
        ENGINE.require_servable(replace(ARTEFACT, weights_bytes=2**60), SPEC)
    wide = {"kv_elements_per_token": str(2**50)}
    with pytest.raises(NoSpace):
        ENGINE.require_servable(ARTEFACT, replace(SPEC, options=wide))


def names(quant: str, isa: tuple[str, ...], **changes: Any) -> set[str]:
    host = Host(cpu="A CPU", isa=isa, cores=(0,), core_groups=((0,),), memory_bytes=1, gpus=())
    return {one[0] for one in ENGINE.warnings(host, quant, replace(SPEC, **changes))}


def test_products_without_vnni_are_named() -> None:
    assert "emulated-int8" in names("onnx-int8", ("avx2",))
    assert "emulated-int8" in names("onnx-int4", ("avx2", "avx512f"))
    assert "emulated-int8" not in names("onnx-int8", ("avx2", "avx512_vnni"))
    assert "emulated-int8" not in names("onnx-fp32", ("avx2",))


def test_users_beyond_a_batch_and_rows_that_change_each_other_are_named() -> None:
    vnni = ("avx512_vnni",)
    assert names("onnx-fp32", vnni) == {"small-batches"}
    assert names("onnx-int8", vnni, slots=4) == {"rows-change-each-other"}
    assert names("onnx-int8", vnni, slots=1) == set()
    assert names("onnx-int8", vnni, options={"batching": "off"}) == set()
