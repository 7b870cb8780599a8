"""Say what can run on this machine, what cannot, and what would cure it."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from quantswarm.bench.output import print_findings, print_json

SUMMARY = "what can run here, what cannot, and the cure"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has no options of its own."""


def run(arguments: argparse.Namespace) -> int:
    """Print every check; exit code 1 where no engine that serves weights can run."""
    from quantswarm.engines.doctor import checks
    from quantswarm.engines.registry import engines

    found = checks()
    if arguments.json:
        print_json({"checks": [asdict(check) for check in found]})
    else:
        print_findings((check.name, check.state, check.found, check.cure) for check in found)
    serving = any(engine.formats and engine.probe().available for engine in engines().values())
    return 0 if serving else 1
