"""`python -m quantswarm.engines.scripted.server_main`: serve until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from quantswarm.engines.scripted.app import App
from quantswarm.engines.scripted.ask import OWN_NAME, Served
from quantswarm.engines.scripted.behaviour import parse
from quantswarm.engines.scripted.clockwork import DEFAULT_SPIN_NS, Clockwork
from quantswarm.engines.scripted.connection import Connection
from quantswarm.engines.scripted.ledger import Ledger
from quantswarm.models.errors import BadFile, PortInUse, QuantswarmError

HOUSEKEEPING_S = 0.1
SPARE_NS = 3_000_000
"""Time before the next instant that is enough for one request's line in the ledger."""
COLLECT_EVERY_S = 10.0


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 after a signal, 2 for a mistake on the command line."""
    arguments = _parser().parse_args(argv)
    try:
        asyncio.run(_serve(arguments))
    except QuantswarmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripted", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one, printed when ready")
    parser.add_argument("--served-model-name", default=OWN_NAME)
    parser.add_argument("--context", type=int, default=32_768, metavar="TOKENS")
    parser.add_argument("--behaviour", default="", help="e.g. ttft=50ms,itl=10ms")
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="a JSON line for each request")
    parser.add_argument("--api-key-file", type=Path, metavar="FILE")
    parser.add_argument("--spin-us", type=float, default=DEFAULT_SPIN_NS / 1000)
    return parser


async def _serve(arguments: argparse.Namespace) -> None:
    served = Served(
        name=arguments.served_model_name,
        behaviour=parse(arguments.behaviour),
        context_tokens=arguments.context,
    )
    key = _key_in(arguments.api_key_file) if arguments.api_key_file else None
    loop = asyncio.get_running_loop()
    ledger = _ledger_at(arguments.ledger)
    clockwork = Clockwork(loop, round(arguments.spin_us * 1000))
    app = App(served, clockwork, ledger, key)
    server = await _listen(loop, app, arguments.host, arguments.port)
    port = server.sockets[0].getsockname()[1]
    print(f"scripted: listening on {arguments.host} port {port}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gc.freeze()
    gc.disable()
    keeping = asyncio.create_task(_keep_house(clockwork, app))
    await stop.wait()
    keeping.cancel()
    server.close()
    ledger.write()


async def _listen(
    loop: asyncio.AbstractEventLoop, app: App, host: str, port: int
) -> asyncio.Server:
    try:
        return await loop.create_server(lambda: Connection(app), host, port, backlog=1024)
    except OSError as error:
        raise PortInUse(
            f"listen on {host}:{port}",
            f"not possible ({error.strerror})",
            next_step="choose another --port",
        ) from None


def _ledger_at(path: Path | None) -> Ledger:
    try:
        return Ledger(path)
    except OSError as error:
        raise BadFile(f"ledger {path}", f"cannot be written: {error.strerror}") from None


def _key_in(path: Path) -> str:
    """The first line that is neither empty nor a comment, as for every engine."""
    from quantswarm.engines.process import key_in

    return key_in(path)


async def _keep_house(clockwork: Clockwork, app: App) -> None:
    """Write the ledger, count, and collect garbage when no token is due soon."""
    collected_s = time.monotonic()
    while True:
        await asyncio.sleep(HOUSEKEEPING_S)
        while _is_quiet(clockwork) and app.tidy():
            await asyncio.sleep(0)
        if clockwork.spare_ns() is None and time.monotonic() - collected_s > COLLECT_EVERY_S:
            gc.collect()
            collected_s = time.monotonic()


def _is_quiet(clockwork: Clockwork) -> bool:
    spare_ns = clockwork.spare_ns()
    return spare_ns is None or spare_ns > SPARE_NS


if __name__ == "__main__":
    sys.exit(main())
