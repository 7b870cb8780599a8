"""Set-up from its command line to its exit code."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from quantswarm.engines.provision.cpu_kernels import cpu_kernel_steps
from quantswarm.engines.provision.environment import Place, environment_steps, project_step
from quantswarm.engines.provision.llamacpp_build import llamacpp_steps
from quantswarm.engines.provision.machine import home, this_machine
from quantswarm.engines.provision.progress import Progress, spoken
from quantswarm.engines.provision.quantizers import quantizers_steps
from quantswarm.engines.provision.steps import Step, carry_out, only_one, pending
from quantswarm.engines.provision.tools import runner
from quantswarm.models.errors import NoSpace, QuantswarmError

_ROOT = Path(__file__).resolve().parents[2]
_GIB = 1 << 30
_ENVIRONMENT_BYTES = 6 * _GIB
_COMPILING_BYTES = 2 * _GIB
_QUANTIZERS_BYTES = 4 * _GIB
_CUDA_BYTES = 8 * _GIB
"""What CUDA's libraries add to an environment with torch: about 3 GiB of wheels, and unpacked."""


def main(arguments: Sequence[str]) -> int:
    """Do what is left to do. 0: all is set up; 1: a step failed; 2: wrong usage; 130: stopped."""
    parser = argparse.ArgumentParser(
        prog="engines/provision", description="Set up this checkout: environment and engines."
    )
    parser.add_argument("--check", action="store_true", help="say what is missing, and do nothing")
    options = parser.parse_args(arguments)
    # `kill` stops us as Ctrl-C does: the tool at work is ended first, and nothing is left running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _check() if options.check else _set_up()
    except QuantswarmError as error:
        print(f"\n{error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nset-up: stopped; the next run goes on from here", file=sys.stderr)
        return 130


def all_steps(place: Place) -> list[Step]:
    """Everything set-up does on this machine, in order."""
    return [
        *environment_steps(place),
        *llamacpp_steps(place),
        *cpu_kernel_steps(place),
        *quantizers_steps(place),
        project_step(place),
    ]


def _place(held: int | None = None) -> Place:
    return Place(root=_ROOT, home=home(), machine=this_machine(), run=runner(held=held))


def _check() -> int:
    missing = pending(all_steps(_place()))
    for step in missing:
        print(f"missing: {step.title}")
    return 1 if missing else 0


def _set_up() -> int:
    if not pending(all_steps(_place())):
        return 0
    began = time.monotonic()
    with only_one(_ROOT / "build" / "setup" / "lock", waiting=_say_waiting) as held:
        place = _place(held)
        steps = pending(all_steps(place))
        if steps:
            _check_space(place, steps)
            with Progress([s.title for s in steps], [s.weight_s for s in steps]) as progress:
                whole_s = sum(step.weight_s for step in steps)
                progress.say(f"{', '.join(step.title for step in steps)}: {spoken(whole_s)}")
                carry_out(steps, progress)
            print(f"set-up: done in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0


def _say_waiting() -> None:
    print("set-up: another set-up of this checkout is at work; waiting for it", file=sys.stderr)


def _check_space(place: Place, steps: Sequence[Step]) -> None:
    """Refuse at once what would fail after ten minutes."""
    place.home.mkdir(parents=True, exist_ok=True)
    titles = " ".join(step.title for step in steps)
    cuda = _CUDA_BYTES if place.machine.gpu else 0
    needs = [(place.root, _ENVIRONMENT_BYTES + cuda)] if "packages" in titles else []
    needs += [(place.home, _COMPILING_BYTES)] if "compiled" in titles else []
    needs += [(place.home, _QUANTIZERS_BYTES + cuda)] if "quantizers" in titles else []
    for folder, wanted_bytes in needs:
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < wanted_bytes:
            raise NoSpace(
                f"set-up in {folder}",
                f"{free_bytes / _GIB:.1f} GiB free, {wanted_bytes / _GIB:.0f} GiB needed",
                next_step="make room there, or set QUANTSWARM_HOME to another disk, and try again",
            )
