"""The command line: finds the command, turns errors into messages and exit codes.

Exit codes: 0 good, 1 a run failed, 2 the user's mistake, 130 interrupted (servers stopped all the
same). With `--json`, stdout holds one JSON document and nothing else.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import pkgutil
import signal
import sys
from collections.abc import Sequence
from types import FrameType, ModuleType

from quantswarm.models.errors import BadFile, NoSpace, QuantswarmError

FIRST = (
    *("serve", "swarm", "saturate", "bench", "report", "compare", "recommend", "quality"),
    *("verify", "selftest", "engines", "models", "quants", "doctor"),
)
"""The order in which help lists commands; those it does not name follow by the alphabet."""
INTERRUPTED = 130

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PLACE = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    }
)
"""What is wrong with a path that a user gave; any other `OSError` is a fault of ours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a user never sees a traceback for a mistake."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        arguments = _parser(words).parse_args(words)
        code = int(_command(arguments.command).run(arguments))
        sys.stdout.flush()
        return code
    except QuantswarmError as error:
        print(f"quantswarm: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("quantswarm: interrupted; everything it started is stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read stdout has seen enough (`| head`); the interpreter must not flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        known = _known(error)
        if known is None:
            raise
        print(f"quantswarm: {known}", file=sys.stderr)
        return known.exit_code


def _known(error: OSError) -> QuantswarmError | None:
    """The message for a disk that is full or a path that cannot be used; None for other faults."""
    if error.errno in _FULL:
        return NoSpace(
            f"write {error.filename or 'a file'}",
            "no space left on the device",
            next_step="free some, or set QUANTSWARM_HOME and --out to a larger disk",
        )
    if error.errno in _PLACE and error.filename is not None:
        return BadFile(
            f"path {error.filename}",
            f"it cannot be used ({error.strerror})",
            next_step="give another path, or set QUANTSWARM_HOME to a folder of yours",
        )
    return None


def command_names() -> tuple[str, ...]:
    """Every command: a file in `bench/commands` is one because it is there."""
    folder = importlib.import_module("quantswarm.bench.commands").__path__
    found = sorted(module.name for module in pkgutil.iter_modules(folder))
    return (*(name for name in FIRST if name in found), *(n for n in found if n not in FIRST))


def _command(name: str) -> ModuleType:
    return importlib.import_module(f"quantswarm.bench.commands.{name}")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quantswarm",
        description="Start quantized LLM servers, drive them with a swarm, say which one to run.",
        epilog="quantswarm COMMAND --help tells a command's options.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in command_names():
        module = _command(name)
        sub = commands.add_parser(
            name, help=module.SUMMARY, description=module.__doc__, allow_abbrev=False
        )
        sub.add_argument("--json", action="store_true", help="one JSON document on stdout")
        if name in words:
            module.add_arguments(sub)
    return parser


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """A request to end, however it is sent, ends as Ctrl-C does; also where a shell ignored it."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
