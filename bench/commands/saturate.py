"""Search for the highest rate of requests at which a server keeps its objectives."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from quantswarm.bench import quantity
from quantswarm.bench.output import print_json, say
from quantswarm.bench.serving import add_host, add_server, add_target, measure_since, options_from
from quantswarm.models.errors import UnknownName, UserMistake

if TYPE_CHECKING:
    from quantswarm.bench.load.arrivals import Arrivals
    from quantswarm.bench.saturation.search import Settings
    from quantswarm.bench.single import Load
    from quantswarm.bench.slo import Slo

SUMMARY = "find the highest rate at which a server keeps its objectives"
KINDS = ("poisson", "constant", "gamma")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The server, what it must keep, and where to look."""
    add_target(parser, required=False)
    parser.add_argument("--url", metavar="U", help="a running server's base URL, …/v1")
    parser.add_argument(
        "--served-name", metavar="ID", help="model id at --url (default: its first)"
    )
    parser.add_argument("--scenario", default="default", metavar="S", help="a name or .toml file")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run directory (default: new)")
    _add_search(parser)
    _add_trial(parser)
    add_host(parser)
    add_server(parser)


def _add_search(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to search for")
    group.add_argument(
        "--slo", metavar="LIMITS", help='objectives (default: the scenario\'s), "ttft_ms<200,…"'
    )
    group.add_argument(
        "--share", type=quantity.part("--share"), metavar="P", help="that must meet them (0.99)"
    )
    rates = (("--low", "lowest rate, tried first"), ("--high", "highest rate to try"))
    for option, told in rates:
        group.add_argument(option, type=quantity.rate(option), metavar="R", help=f"{told}, req/s")
    group.add_argument(
        "--width",
        type=quantity.part("--width"),
        default=0.05,
        metavar="P",
        help="how close the ends must come (default: 0.05 of the lower)",
    )
    group.add_argument(
        "--repeats",
        type=quantity.count("--repeats", 3),
        default=3,
        metavar="N",
        help="trials of each end (default: 3)",
    )
    group.add_argument(
        "--most-trials",
        type=quantity.count("--most-trials", 40),
        default=40,
        metavar="N",
        help="give up after so many (default: 40)",
    )


def _add_trial(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("one trial")
    group.add_argument("--arrivals", default=KINDS[0], metavar="KIND", help=", ".join(KINDS))
    group.add_argument("--burstiness", type=float, metavar="B", help="of gamma: under 1 in bursts")
    group.add_argument("--max-in-flight", type=int, metavar="N", help="drop arrivals beyond it")
    group.add_argument("--warmup", type=quantity.seconds("--warmup", zero=True), metavar="S")
    group.add_argument("--duration", type=quantity.seconds("--duration"), metavar="S")
    group.add_argument(
        "--seed", type=quantity.seed("--seed"), default=0, metavar="N", help="of the first trial"
    )
    group.add_argument(
        "--users",
        type=quantity.count("--users"),
        default=8,
        metavar="N",
        help="how many at once a started server makes room for (default: 8)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Search, write the run's report, print the answer; 1 where there is none."""
    from quantswarm.bench.exclusive import measuring
    from quantswarm.bench.finish import finish
    from quantswarm.bench.saturation.run import Quest
    from quantswarm.bench.single import drive_started, drive_url

    if (arguments.url is None) == (arguments.engine is None):
        raise UserMistake(
            "quantswarm saturate",
            "give either --engine (a server is started) or --url (one is running)",
            next_step="quantswarm saturate --engine llamacpp --quant q8_0",
        )
    load = _load(arguments)
    quest = Quest(settings=_settings(arguments, load))
    options = options_from(arguments, users=arguments.users, port=0)
    with measuring():
        if arguments.url:
            url, name = arguments.url, arguments.served_name
            done = drive_url(url, name, options, load, say, quest.drive)
        else:
            names = (arguments.engine, arguments.quant, arguments.model)
            done = drive_started(names, options, load, say, quest.drive)
    summary, text = finish(done, say)
    if arguments.json:
        print_json(summary["saturation"])
    else:
        print(text)
    found = summary["saturation"]
    known = found["conclusion"]["rate"] or found["conclusion"]["fails_at"]
    return 0 if known and not found["ended"] else 1


def _load(arguments: argparse.Namespace) -> Load:
    from quantswarm.bench.single import Load

    plain = Load(
        purpose="saturate",
        arrivals=_arrivals(arguments),
        scenario=arguments.scenario,
        users=arguments.users,
        warmup_s=arguments.warmup,
        duration_s=arguments.duration,
        seed=arguments.seed,
        out=arguments.out,
        measure_since=measure_since(arguments),
    )
    return dataclasses.replace(plain, slo=_slo(arguments, plain.read().slo))


def _slo(arguments: argparse.Namespace, of_scenario: Slo | None) -> Slo:
    """What was asked for, else the scenario's; with neither an answer only has to be whole."""
    from quantswarm.bench.slo import Slo, parse_slo

    slo = parse_slo(arguments.slo) if arguments.slo is not None else of_scenario or Slo()
    return slo if arguments.share is None else dataclasses.replace(slo, share=arguments.share)


def _arrivals(arguments: argparse.Namespace) -> Arrivals:
    from quantswarm.bench.load.arrivals import Arrivals

    if arguments.arrivals not in KINDS:
        raise UnknownName("arrivals", arguments.arrivals, KINDS, next_step="choose one of them")
    given = {"burstiness": arguments.burstiness, "max_in_flight": arguments.max_in_flight}
    known = {key: value for key, value in given.items() if value is not None}
    dataclasses.replace(Arrivals(kind=arguments.arrivals, **known), rate=1.0).check()
    return Arrivals(kind=arguments.arrivals, **known)


def _settings(arguments: argparse.Namespace, load: Load) -> Settings:
    from quantswarm.bench.saturation.run import FEWEST_ARRIVALS
    from quantswarm.bench.saturation.search import Settings

    low, high = arguments.low, arguments.high
    if low is not None and high is not None and high < low:
        raise UserMistake(
            f"--low {low:g} --high {high:g}", "nothing lies between", next_step="--high above --low"
        )
    described = load.read()
    assert load.slo is not None
    return Settings(
        share=load.slo.share,
        low=low,
        high=high,
        floor=FEWEST_ARRIVALS / (load.duration_s or described.duration_s),
        width=arguments.width,
        repeats=arguments.repeats,
        most_trials=arguments.most_trials,
    )
