"""Start llama-cpp-python's server on llama.cpp libraries that load their CPU code at run time.

`python -m quantswarm.engines.llama_cpp_launch ARGS…` is `python -m llama_cpp.server ARGS…`, with
three things put right first:

* Such a llama.cpp has no compute code inside libllama and looks for it beside the running program,
  which is Python here: the libraries in `LLAMA_CPP_LIB_PATH` are loaded explicitly.
* Its `min_tokens` holds back one end token only; a model with several would stop early, and answers
  of a measurement must have the length that was asked for.
* It takes nothing but a UUID as X-Request-Id, and answers any other id with an empty 400.
"""

from __future__ import annotations

import ctypes
import functools
import os
import runpy
import sys
from pathlib import Path
from typing import Any


def load_backends(folder: Path) -> None:
    """Let ggml choose the best of the libraries in `folder`."""
    library = folder / "libggml.so"
    if not library.exists():
        return
    ggml = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    load = getattr(ggml, "ggml_backend_load_all_from_path", None)
    if load is not None:
        load.argtypes = [ctypes.c_char_p]
        load.restype = None
        load(os.fsencode(folder))


def end_tokens(vocab: Any, count: int, is_end: Any) -> list[int]:
    """Every token that ends an answer."""
    return [token for token in range(count) if is_end(vocab, token)]


def hold_every_end_token(package: Any) -> None:
    """Make `min_tokens` of the package's server mean what it says, for every kind of end token."""
    original = package.MinTokensLogitsProcessor
    models: list[Any] = []
    initialise = package.Llama.__init__

    @functools.wraps(initialise)
    def remembering(self: Any, *args: Any, **kwargs: Any) -> None:
        initialise(self, *args, **kwargs)
        vocab = package.llama_model_get_vocab(self.model)
        models[:] = [end_tokens(vocab, self.n_vocab(), package.llama_vocab_is_eog)]

    def processor(min_tokens: int, token_eos: int) -> Any:
        return original(min_tokens, models[0] if models else token_eos)

    package.Llama.__init__ = remembering
    package.MinTokensLogitsProcessor = processor


def accept_every_request_id(plugin: Any) -> None:
    """An id is the client's own; the load generator's are shorter than a UUID."""
    plugin.validate_uuid = lambda _self, _value: None


def main() -> None:
    """Load the libraries, mend the server, then become it."""
    folder = os.environ.get("LLAMA_CPP_LIB_PATH")
    if folder:
        load_backends(Path(folder))
    import llama_cpp
    from starlette_context.plugins.request_id import RequestIdPlugin

    accept_every_request_id(RequestIdPlugin)
    hold_every_end_token(llama_cpp)
    sys.argv[0] = "llama_cpp.server"
    runpy.run_module("llama_cpp.server", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
