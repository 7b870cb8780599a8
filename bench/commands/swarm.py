"""One cell: drive a server, started for it or already running, and report what the users saw."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from quantswarm.bench import quantity
from quantswarm.bench.output import print_json, say
from quantswarm.bench.serving import add_host, add_server, add_target, measure_since, options_from
from quantswarm.models.errors import UserMistake

if TYPE_CHECKING:
    from quantswarm.bench.load.arrivals import Arrivals

SUMMARY = "drive one server with a swarm of users"
UI_PORT = 8089


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The server to start, or the URL of one; the load."""
    add_target(parser, required=False)
    parser.add_argument("--url", metavar="U", help="a running server's base URL, …/v1")
    parser.add_argument(
        "--served-name", metavar="ID", help="model id at --url (default: its first)"
    )
    load = parser.add_argument_group("the load")
    load.add_argument(
        "--users",
        type=quantity.count("--users"),
        default=8,
        metavar="N",
        help="concurrent users",
    )
    load.add_argument("--scenario", default="default", metavar="S", help="a name or a .toml file")
    load.add_argument(
        "--data", type=Path, metavar="FILE", help="ask what is in a data set (ShareGPT or JSONL)"
    )
    load.add_argument(
        "--warmup",
        type=quantity.seconds("--warmup", zero=True),
        metavar="S",
        help="seconds before the window",
    )
    load.add_argument(
        "--duration",
        type=quantity.seconds("--duration"),
        metavar="S",
        help="seconds of the window",
    )
    load.add_argument(
        "--seed", type=quantity.seed("--seed"), default=0, metavar="N", help="of the prompts"
    )
    load.add_argument(
        "--slo", metavar="LIMITS", help='objectives, e.g. "ttft_ms<200,tpot_ms<50,share=0.99"'
    )
    load.add_argument(
        "--processes",
        type=quantity.count_or_auto("--processes"),
        metavar="N",
        help="of the load generator (default: auto, one for 64 users where it has the cores)",
    )
    load.add_argument("--ui", action="store_true", help="Locust's own page, on loopback")
    load.add_argument(
        "--ui-port",
        type=quantity.port("--ui-port"),
        default=UI_PORT,
        metavar="N",
        help="its port",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="run directory (default: a new one)"
    )
    _add_arrivals(parser)
    add_host(parser)
    add_server(parser)


def _add_arrivals(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("an open loop, in place of users who wait for answers")
    group.add_argument("--rate", type=float, metavar="R", help="requests a second")
    group.add_argument(
        "--arrivals",
        metavar="KIND",
        help="poisson (default), constant, gamma, steps, ramp, spike or trace",
    )
    group.add_argument("--burstiness", type=float, metavar="B", help="of gamma: under 1 in bursts")
    group.add_argument("--peak-rate", type=float, metavar="R", help="of steps, ramp and spike")
    group.add_argument("--trace", metavar="F", help="a shipped trace's name, or a file")
    group.add_argument("--max-in-flight", type=int, metavar="N", help="drop arrivals beyond it")


def _arrivals(arguments: argparse.Namespace) -> Arrivals | None:
    """The open loop that was asked for, checked; None for a closed one."""
    from quantswarm.bench.load.arrivals import GAMMA, TRACE, Arrivals
    from quantswarm.bench.load.traces import trace_named

    asked = {
        "kind": arguments.arrivals,
        "rate": arguments.rate,
        "peak_rate": arguments.peak_rate,
        "burstiness": arguments.burstiness,
        "max_in_flight": arguments.max_in_flight,
        "trace": trace_named(arguments.trace) if arguments.trace else None,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    if not given:
        return None
    if arguments.burstiness is not None:
        given.setdefault("kind", GAMMA)
    if arguments.trace:
        given.setdefault("kind", TRACE)
    arrivals = Arrivals(**given)
    arrivals.check()
    return arrivals


def run(arguments: argparse.Namespace) -> int:
    """Measure the one cell, print its table; exit code 1 unless its result is valid."""
    from quantswarm.bench.exclusive import measuring
    from quantswarm.bench.finish import finish
    from quantswarm.bench.single import Load, drive_started, drive_url
    from quantswarm.bench.slo import parse_slo

    if (arguments.url is None) == (arguments.engine is None):
        raise UserMistake(
            "quantswarm swarm",
            "give either --engine (a server is started) or --url (one is running)",
            next_step="quantswarm swarm --engine llamacpp --quant q8_0 --users 8",
        )
    open_loop = _arrivals(arguments)
    load = Load(
        arrivals=open_loop,
        processes=arguments.processes,
        scenario=arguments.scenario,
        data=arguments.data,
        users=arguments.users,
        warmup_s=arguments.warmup,
        duration_s=arguments.duration,
        seed=arguments.seed,
        ui_port=arguments.ui_port if arguments.ui else None,
        out=arguments.out,
        slo=parse_slo(arguments.slo) if arguments.slo is not None else None,
        measure_since=measure_since(arguments),
    )
    options = options_from(arguments, users=arguments.users, port=0)
    with measuring():
        if arguments.url:
            done = drive_url(arguments.url, arguments.served_name, options, load, say)
        else:
            names = (arguments.engine, arguments.quant, arguments.model)
            done = drive_started(names, options, load, say)
    summary, text = finish(done, say)
    if arguments.json:
        print_json(summary)
    else:
        print(text)
    return 0 if all(cell["status"] == "ok" for cell in summary["cells"]) else 1
