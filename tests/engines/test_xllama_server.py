"""The wheel's `llama-server` takes what engine `llamacpp` gives."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from quantswarm.engines import llamacpp, xllama_server
from quantswarm.engines.base import ServeSpec
from quantswarm.models.artefact import Artefact


def the_engines_arguments(api_key_file: Path | None) -> tuple[str, ...]:
    artefact = Artefact(
        path=Path("/m.gguf"),
        format="gguf",
        model="m",
        quant="q8_0",
        weights_bytes=0,
        sha256="",
        tokenizer=None,
        context_tokens=512,
        random_weights=False,
    )
    spec = ServeSpec(
        host="127.0.0.1",
        port=8123,
        served_name="m",
        threads=1,
        cores=(0,),
        slots=4,
        context_tokens=512,
        api_key_file=api_key_file,
        log_requests=True,
    )
    return llamacpp.ENGINE.command(artefact, spec, ()).argv[1:]


def test_every_option_of_the_engine_reaches_llama_cpp(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    asked = xllama_server._parser().parse_args(the_engines_arguments(key))
    empty = SimpleNamespace(
        model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace()
    )
    set_up = xllama_server._parameters(empty, asked)
    assert set_up.model.path == "/m.gguf"
    assert (set_up.hostnames, set_up.port) == (["127.0.0.1"], 8123)
    assert (set_up.n_parallel, set_up.n_ctx) == (4, 2048)
    assert (set_up.cpuparams.n_threads, set_up.cpuparams_batch.n_threads) == (1, 1)
    assert (set_up.cache_prompt, set_up.cache_ram_mib) == (False, 0)
    assert set_up.api_keys == ["secret"]
    assert set_up.endpoint_metrics


def test_an_option_it_does_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        xllama_server.main(["-m", "/m.gguf", "-ngl", "all"])
    assert ended.value.code == 2
    assert "-ngl" in capsys.readouterr().err
