"""`python -m quantswarm.engines.onnx_serve.server_main`: serve an ONNX folder until a signal."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from quantswarm.engines.onnx_serve.app import Served, app
from quantswarm.engines.onnx_serve.counts import Counts
from quantswarm.engines.onnx_serve.generate import Generating
from quantswarm.engines.onnx_serve.model import load
from quantswarm.engines.onnx_serve.queueing import Waiting
from quantswarm.engines.onnx_serve.said import KEY_VARIABLE, MOST_TOGETHER, tell

_GRACE_S = 2


def main(argv: Sequence[str] | None = None) -> int:
    """0 after a signal."""
    asked = _parser().parse_args(argv)
    for name in ("onnxruntime", "onnxruntime-genai"):
        print(f"{name} {importlib.metadata.version(name)}", flush=True)
    together = min(asked.slots, MOST_TOGETHER)
    tell(asked.model, together, asked.context)
    cores = tuple(map(int, filter(None, asked.cores.split(","))))
    loaded = load(asked.model, asked.threads, cores)
    waiting = Waiting(together, asked.batch_wait_ms / 1000)
    counts = Counts(waiting.__len__)
    generating = Generating(loaded, waiting, counts, asked.threads, cores)
    served = Served(
        loaded=loaded,
        name=asked.served_model_name,
        context_tokens=asked.context,
        key=os.environ.pop(KEY_VARIABLE, None),
        alive=generating.is_alive,
    )
    generating.start()
    config = uvicorn.Config(
        app(served, waiting, counts),
        host=asked.host,
        port=asked.port,
        lifespan="off",
        ws="none",
        access_log=asked.log_requests,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Serving(config, generating)
    server.run()
    generating.stop()
    generating.join(_GRACE_S)
    status = 0 if server.started else 1
    sys.stdout.flush()
    sys.stderr.flush()
    if generating.is_alive():
        os._exit(status)  # a long prompt is being computed, which nothing can interrupt
    return status


class _Serving(uvicorn.Server):
    """Ends the answers that are being computed first, so that their connections close."""

    def __init__(self, config: uvicorn.Config, generating: Generating) -> None:
        super().__init__(config)
        self._generating = generating

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._generating.stop()
        super().handle_exit(sig, frame)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="onnx_serve", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--context", type=int, default=2048, metavar="TOKENS")
    parser.add_argument("--slots", type=int, default=MOST_TOGETHER, help="requests in a batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cores", default="", help="of the threads, e.g. 0,1; empty: not bound")
    parser.add_argument("--batch-wait-ms", type=float, default=0.0)
    parser.add_argument("--log-requests", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
