"""Command-line options that several commands share: what to serve, and on which cores."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from quantswarm.bench import quantity
from quantswarm.engines.placement import parse_cores
from quantswarm.engines.prepare import ServeOptions


def add_target(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Engine, quantization and model."""
    group = parser.add_argument_group("what to serve")
    group.add_argument("--engine", required=required, metavar="E", help="see quantswarm engines")
    group.add_argument("--quant", metavar="Q", help="see quantswarm quants")
    group.add_argument(
        "--model", default="tiny", metavar="M", help="see quantswarm models (default: tiny)"
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """A server that runs already, in place of one that is started."""
    parser.add_argument("--url", metavar="U", help="a running server of that engine, …/v1")
    parser.add_argument(
        "--served-name", metavar="ID", help="model id at --url (default: its first)"
    )


def add_server(parser: argparse.ArgumentParser) -> None:
    """How the server runs; everything left out is decided, and the reason printed."""
    group = parser.add_argument_group("how to serve it")
    group.add_argument(
        "--gpu-layers",
        metavar="N|WORD",
        help="layers on the GPU: a number, all, half or none (llama.cpp)",
    )
    group.add_argument(
        "--threads",
        type=quantity.count("--threads", 2),
        metavar="N",
        help="compute threads of the server",
    )
    group.add_argument("--server-cores", metavar="LIST", help="cores that compute, e.g. 0,2-3")
    group.add_argument("--client-cores", metavar="LIST", help="cores of the load generator")
    group.add_argument(
        "--context",
        type=quantity.count("--context", 2048),
        metavar="TOKENS",
        help="prompt and answer together",
    )
    group.add_argument("--eager", action="store_true", help="no graph compilation (vLLM)")
    group.add_argument("--api-key-file", type=Path, metavar="F", help="clients must send its key")
    group.add_argument(
        "--log-requests", action="store_true", help="each request in the server's log"
    )
    group.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the engine's own, repeatable (scripted: behaviour=…)",
    )


def add_host(parser: argparse.ArgumentParser) -> None:
    """Whether the machine's figures, which ceilings follow from, are taken again."""
    parser.add_argument(
        "--measure-host",
        action="store_true",
        help="take this machine's bandwidth and arithmetic rate again (kept for 30 days)",
    )


def measure_since(arguments: argparse.Namespace) -> datetime | None:
    """From when on figures of the machine are good enough; None for all that are fresh."""
    return datetime.now(UTC) if arguments.measure_host else None


def options_from(
    arguments: argparse.Namespace, *, users: int | None, port: int, host: str = "127.0.0.1"
) -> ServeOptions:
    """The parsed options as the engines' layer takes them; `port` 0 is any free one."""
    return ServeOptions(
        host=host,
        port=port,
        users=users,
        threads=arguments.threads,
        server_cores=_cores(arguments.server_cores),
        client_cores=_cores(arguments.client_cores),
        context_tokens=arguments.context,
        gpu_layers=arguments.gpu_layers,
        eager=arguments.eager,
        api_key_file=arguments.api_key_file,
        log_requests=arguments.log_requests,
        engine_options=_pairs(arguments.option),
    )


def _cores(text: str | None) -> tuple[int, ...] | None:
    return parse_cores(text) if text else None


def _pairs(entries: list[str]) -> dict[str, str]:
    from quantswarm.models.errors import UserMistake

    pairs = {}
    for entry in entries:
        key, sign, value = entry.partition("=")
        if not sign or not key:
            raise UserMistake(f"--option {entry}", "not KEY=VALUE", next_step="e.g. --option a=b")
        pairs[key] = value
    return pairs
