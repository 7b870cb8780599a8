"""`llama-server` out of the `xllamacpp` wheel, for machines without a C++ compiler.

Set-up puts a `llama-server` that runs this module where the compiled one would be. It takes the
options that engine `llamacpp` gives, by their names there, and refuses every other.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from quantswarm.engines.llamacpp_kv import TYPES

_IGNORED = {
    "-cb": "always on",
    "--no-webui": "the wheel has no page",
}
_ATTENTION = {"auto": -1, "off": 0, "on": 1}
_STOP = {signal.SIGINT, signal.SIGTERM}


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal ends it."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--version" in words:
        print(f"version: xllamacpp {version('xllamacpp')}", file=sys.stderr)
        return 0
    asked = _parser().parse_args(words)
    xllamacpp: Any = importlib.import_module("xllamacpp")  # it ships no types

    print(f"system_info: {xllamacpp.get_system_info()}", file=sys.stderr, flush=True)
    # Before any thread is started: they inherit it, and only `sigwait` receives the signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    if asked.cpu_mask:
        print("-C is not applied: the wheel binds no threads to cores", file=sys.stderr)
    server = xllamacpp.Server(_parameters(xllamacpp.CommonParams(), asked))
    print(f"listening on {server.listening_address}", file=sys.stderr, flush=True)
    signal.sigwait(_STOP)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llama-server", allow_abbrev=False)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--alias", default="model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("-np", "--parallel", type=int, default=1)
    parser.add_argument("-c", "--ctx-size", type=int, default=4096)
    parser.add_argument("-t", "--threads", type=int)
    parser.add_argument("-tb", "--threads-batch", type=int)
    parser.add_argument("-C", "--cpu-mask")
    parser.add_argument("--cpu-strict", type=int)
    parser.add_argument("--metrics", action="store_true")
    parser.add_argument("--no-cache-prompt", dest="cache_prompt", action="store_false")
    parser.add_argument("--cache-ram", type=int)
    parser.add_argument("--api-key-file", type=Path)
    parser.add_argument("--log-verbosity", type=int)
    parser.add_argument("-ctk", "--cache-type-k", choices=TYPES, default="f16")
    parser.add_argument("-ctv", "--cache-type-v", choices=TYPES, default="f16")
    parser.add_argument("-fa", "--flash-attn", choices=_ATTENTION, default="auto")
    for word, why in _IGNORED.items():
        parser.add_argument(word, action="store_true", help=why)
    return parser


def _parameters(parameters: Any, asked: argparse.Namespace) -> Any:
    """llama.cpp's own parameters, as its command line would have set them."""
    parameters.model.path = asked.model
    parameters.model_alias = [asked.alias]
    parameters.hostnames = [asked.host]
    parameters.port = asked.port
    parameters.n_parallel = asked.parallel
    parameters.n_ctx = asked.ctx_size
    parameters.endpoint_metrics = asked.metrics
    parameters.cache_prompt = asked.cache_prompt
    parameters.cache_type_k = TYPES[asked.cache_type_k]
    parameters.cache_type_v = TYPES[asked.cache_type_v]
    parameters.flash_attn_type = _ATTENTION[asked.flash_attn]
    if asked.threads is not None:
        parameters.cpuparams.n_threads = asked.threads
        parameters.cpuparams_batch.n_threads = asked.threads_batch or asked.threads
    if asked.cache_ram is not None:
        parameters.cache_ram_mib = asked.cache_ram
    if asked.log_verbosity is not None:
        parameters.verbosity = asked.log_verbosity
    if asked.api_key_file is not None:
        parameters.api_keys = asked.api_key_file.read_text(encoding="utf-8").split()
    return parameters


if __name__ == "__main__":
    sys.exit(main())
