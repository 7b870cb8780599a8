"""The launcher mends `min_tokens` for models with several end tokens, and takes every id."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from quantswarm.engines.llama_cpp_launch import (
    accept_every_request_id,
    end_tokens,
    hold_every_end_token,
    load_backends,
)


class Llama:
    def __init__(self, path):
        self.path = path
        self.model = "model"

    def n_vocab(self):
        return 5


def test_every_end_token_is_held_back():
    package = SimpleNamespace(
        Llama=type("Own", (Llama,), {"__init__": Llama.__init__}),
        MinTokensLogitsProcessor=lambda count, tokens: (count, tokens),
        llama_model_get_vocab=lambda model: f"vocab of {model}",
        llama_vocab_is_eog=lambda vocab, token: vocab == "vocab of model" and token in (0, 3),
    )
    hold_every_end_token(package)
    assert package.MinTokensLogitsProcessor(7, 0) == (7, 0), "before any model is loaded"
    assert package.Llama("x.gguf").path == "x.gguf"
    assert package.MinTokensLogitsProcessor(7, 0) == (7, [0, 3])
    assert end_tokens("other", 5, package.llama_vocab_is_eog) == []


def test_a_folder_without_such_libraries_is_left_alone(tmp_path):
    load_backends(tmp_path)


def test_a_request_may_have_any_id() -> None:
    """Its server would answer 400 to an id that is no UUID, as the load generator's are not."""
    plugins = pytest.importorskip("starlette_context.plugins")
    errors = pytest.importorskip("starlette_context.errors")

    plugin = type("Plugin", (plugins.RequestIdPlugin,), {})
    with pytest.raises(errors.WrongUUIDError):
        plugin().validate_uuid("c0ffee123456")
    accept_every_request_id(plugin)
    plugin().validate_uuid("c0ffee123456")
