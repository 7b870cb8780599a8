"""`python3 -I engines/provision`: sets up this checkout. Runs before any package is installed."""

from __future__ import annotations

import sys
import types
from pathlib import Path


def _find_ourselves() -> None:
    """Make `quantswarm.engines.provision` importable from a checkout that nobody has installed.

    Python puts the folder it runs on the path, where our file names could shadow other modules.
    """
    here = Path(__file__).resolve()
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here.parent]
    namespace = types.ModuleType("quantswarm")
    namespace.__path__ = [str(here.parents[2])]
    sys.modules["quantswarm"] = namespace


def _check_python() -> None:
    """Before anything of ours is imported: older versions cannot even read it."""
    if sys.version_info < (3, 11):  # noqa: UP036  # this file is run by whatever python3 is
        found = f"{sys.executable} is Python {sys.version.split()[0]}, and 3.11 or newer is needed"
        sys.exit(f"set-up: {found}\nNext: make setup PYTHON=/path/to/python3.11")


if __name__ == "__main__":
    _check_python()
    sys.dont_write_bytecode = True
    if not __package__:
        _find_ourselves()
    from quantswarm.engines.provision.setup_run import main

    sys.exit(main(sys.argv[1:]))
