"""Hold the harness against a server of known latency, and say how exact it is on this machine."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantswarm.bench.output import print_json, print_table, say
from quantswarm.models.errors import UserMistake

SUMMARY = "prove that this machine's measurements can be trusted"
_SHOWN = (
    ("ttft_p50_error_ms", "TTFT p50"),
    ("ttft_p99_error_ms", "p99"),
    ("itl_p50_error_ms", "ITL p50"),
    ("itl_p99_error_ms", "p99"),
    ("reference_itl_p99_error_ms", "reference"),
    ("cpu_us_per_token", "CPU µs/token"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One case instead of all; where to keep what was recorded; other tools beside ours."""
    parser.add_argument("--case", metavar="NAME", help="this one only")
    parser.add_argument(
        "--peers",
        action="store_true",
        help="drive the server with other load generators too, and print what each reports beside"
        " the truth (installs them first; about 12 minutes)",
    )
    parser.add_argument(
        "--peer", action="append", metavar="NAME", help="with --peers: this tool only; repeatable"
    )
    parser.add_argument(
        "--markdown", action="store_true", help="with --peers: tables for a document"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="keep records and ledgers here (default: nowhere)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the cases and print their errors; exit code 1 unless every one is ok.

    With `--peers` it is a comparison: exit code 1 only where our own client broke its bounds.
    """
    from quantswarm.bench.exclusive import measuring
    from quantswarm.bench.selftest.cases import CASES, case_named
    from quantswarm.bench.selftest.session import session_in

    _check(arguments)
    if arguments.peers:
        return _peers(arguments)
    cases = [case_named(arguments.case)] if arguments.case else CASES
    with measuring(), _folder(arguments.out) as folder:
        found = session_in(folder, say).run(cases)
    if arguments.json:
        print_json(found)
    else:
        _print(found)
    return 0 if found["valid"] else 1


def _check(arguments: argparse.Namespace) -> None:
    for option, given in (("--peer", arguments.peer), ("--markdown", arguments.markdown)):
        if given and not arguments.peers:
            raise UserMistake(option, "goes with --peers", next_step="add --peers")
    if arguments.markdown and arguments.json:
        raise UserMistake("--markdown --json", "one form at a time", next_step="leave one out")


def _peers(arguments: argparse.Namespace) -> int:
    from quantswarm.bench.exclusive import measuring
    from quantswarm.bench.selftest.parity.comparison import compare
    from quantswarm.bench.selftest.parity.load_cases import CASES, load_case_named
    from quantswarm.bench.selftest.parity.tables import as_markdown
    from quantswarm.bench.selftest.peers import peer_named, peers
    from quantswarm.bench.selftest.session import two_cores

    cases = [load_case_named(arguments.case)] if arguments.case else CASES
    chosen = [*map(peer_named, dict.fromkeys(arguments.peer or peers()))]
    with measuring(), _folder(arguments.out) as folder:
        found = compare(chosen, cases, two_cores(folder), say)
    if arguments.json:
        print_json(found)
    elif arguments.markdown:
        print(as_markdown(found), end="")
    else:
        _print_peers(found)
    return 0 if found["valid"] else 1


def _print_peers(found: Mapping[str, Any]) -> None:
    from quantswarm.bench.selftest.parity.tables import HOW_TO_READ, tables

    for table in tables(found):
        print(f"\n{table.title}")
        print_table(table.header, table.rows)
        print(*(f"note: {note}" for note in table.notes), sep="\n")
    print(HOW_TO_READ)
    print("ours held its bounds" if found["valid"] else "OURS DID NOT HOLD ITS BOUNDS")


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """A new folder inside the given one, or one that is gone afterwards."""
    if given is None:
        with tempfile.TemporaryDirectory(prefix="quantswarm-selftest-") as name:
            yield Path(name)
    else:
        given.mkdir(parents=True, exist_ok=True)
        yield Path(tempfile.mkdtemp(prefix="selftest-", dir=given))


def _print(found: Mapping[str, Any]) -> None:
    header = ("case", "result", *(title for _, title in _SHOWN))
    print_table(header, [_row(case) for case in found["cases"]])
    print("\nerrors in ms against the server's ledger; the reference is a bare socket's ITL p99")
    floor = found["noise_floor_ms"]
    print(f"noise floor: {'n/a' if floor is None else f'{floor:.3f} ms'}")
    print("valid" if found["valid"] else "NOT VALID")


def _row(case: Mapping[str, Any]) -> tuple[str, ...]:
    state = "ok" if case["ok"] else "void" if case["void"] else "FAILED"
    return case["name"], state, *(_number(case[key]) for key, _ in _SHOWN)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
