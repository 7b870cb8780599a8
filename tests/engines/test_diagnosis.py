"""Known deaths are recognised by their own words, unknown ones are shown as they are."""

from __future__ import annotations

import pytest

from quantswarm.engines.diagnosis import cause_of, death
from quantswarm.models.errors import NoSpace, ServerDied

LOGS = {
    "OSError: [Errno 28] No space left on device": "no space",
    "terminate called after throwing 'std::bad_alloc'": "out of memory",
    "torch.OutOfMemoryError: CUDA out of memory. Tried": "out of GPU memory",
    "gguf_init_from_file_impl: invalid magic characters: '????'": "corrupt",
    "llama_model_load: error: tensor 'blk.0' data is not within the file bounds": "corrupt",
    "unknown model architecture: 'foo9'": "architecture",
    "ValueError: Model architectures ['Foo'] are not supported for now.": "architecture",
    "OSError: [Errno 98] Address already in use": "port",
    "error: invalid argument: --cache-ram": "argument",
    "ModuleNotFoundError: No module named 'starlette_context'": "missing",
    "'_C' object has no attribute 'cpu_gemm_wna16'": "AVX-512",
    "ValueError: No available memory for the cache blocks": "key-value cache",
}


@pytest.mark.parametrize("log", LOGS)
def test_known_causes(log):
    cause = cause_of(f"before\n{log}\nafter")
    assert cause is not None
    assert LOGS[log] in cause.name


def test_signals_speak_without_a_log():
    killed, illegal = cause_of("", -9), cause_of("", -4)
    assert killed is not None
    assert illegal is not None
    assert "out-of-memory" in killed.name
    assert "another CPU" in illegal.name
    assert cause_of("all is well", 1) is None


def test_errors_have_the_log_and_a_next_step():
    error = death("server for m", "x", "x", 3)
    assert isinstance(error, ServerDied)
    assert "it ended with exit code 3" in str(error)
    assert "Last lines of its log:\nx" in str(error)
    assert "doctor" in error.next_step
    assert isinstance(death("m", "No space left on device", "", 1), NoSpace)
    assert "log is empty" in str(death("m", "", "", None))
