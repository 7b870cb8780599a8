"""The type of llama.cpp's key-value cache: asked for, combined, refused, and proved by the log."""

from __future__ import annotations

import pytest

from quantswarm.engines import llamacpp_kv, xllama_server
from quantswarm.engines.llamacpp import ENGINE
from quantswarm.models.errors import UnknownName, UserMistake

LOG = """\
0.00.091.700 I srv    load_model: initializing, n_slots = 2, n_ctx_slot = 512, kv_unified = 'false'
0.00.238.377 I llama_kv_cache: size =    2.12 MiB (   512 cells,   8 layers,  2/2 seqs), \
K (q8_0):    1.06 MiB, V (q8_0):    1.06 MiB
"""


def test_the_log_tells_type_and_room() -> None:
    assert ENGINE.served_with(LOG) == {"kv_cache_dtype": "q8_0", "kv_cache_tokens": 1024}
    mixed = LOG.replace("V (q8_0)", "V (f16)")
    assert llamacpp_kv.facts(mixed)["kv_cache_dtype"] == "q8_0/f16"


def test_a_silent_log_is_not_guessed_from() -> None:
    assert llamacpp_kv.facts("") == {"kv_cache_dtype": None, "kv_cache_tokens": None}


def test_the_option_goes_with_any_weights() -> None:
    reasons: dict[str, str] = {}
    assert llamacpp_kv.flags({}, (), reasons) == ()
    assert llamacpp_kv.flags({"kv": "bf16"}, (), reasons) == ("-ctk", "bf16", "-ctv", "bf16")
    assert llamacpp_kv.flags({"kv": "q4_0"}, (), reasons)[-2:] == ("-fa", "on")
    assert "kv" in reasons


def test_unknown_and_contradicting_types_are_refused() -> None:
    with pytest.raises(UnknownName, match="q8_0"):
        llamacpp_kv.flags({"kv": "q8"}, (), {})
    with pytest.raises(UserMistake, match="q8_0 already"):
        llamacpp_kv.flags({"kv": "q4_0"}, ("-ctk", "q8_0", "-ctv", "q8_0"), {})


def test_the_wheels_server_takes_the_same_flags() -> None:
    given = llamacpp_kv.flags({"kv": "q8_0"}, (), {})
    asked = xllama_server._parser().parse_args(["-m", "/m.gguf", *given])
    assert (asked.cache_type_k, asked.cache_type_v, asked.flash_attn) == ("q8_0", "q8_0", "on")
