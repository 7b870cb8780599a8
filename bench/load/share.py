"""One process's part of a swarm: every number of the one-process plan whose remainder is its own.

Users, prompts and arrivals are numbered in the plan. Worker `w` of `n` has those with
`number % n == w`, so each exists exactly once, and what it is does not depend on `n`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

from quantswarm.bench.load.plan import MOST_USERS_A_PROCESS, SwarmPlan
from quantswarm.models.errors import UserMistake

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which worker, of how many."""

    worker: int = 0
    of: int = 1

    def number(self, nth: int) -> int:
        """Its n-th number, counted from 0."""
        return self.worker + nth * self.of

    def numbers(self) -> Iterator[int]:
        """All of its numbers in order, without an end."""
        return count(self.worker, self.of)

    def part(self, total: int) -> int:
        """How many of the numbers under `total` are its own."""
        return len(range(self.worker, total, self.of))

    def mine(self, everything: Sequence[Thing]) -> Sequence[Thing]:
        """Its own of things that stand at their numbers."""
        return everything[self.worker :: self.of]

    def path(self, folder: Path, name: str) -> Path:
        """Its own file of a kind: `swarm.spool` where it is alone, else `swarm.1.spool`."""
        stem, _, ending = name.rpartition(".")
        return folder / (name if self.of == 1 else f"{stem}.{self.worker}.{ending}")


ALONE = Share()


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How many processes carry a swarm, and why so many."""

    processes: int
    reason: str

    @property
    def shares(self) -> tuple[Share, ...]:
        """One for each process."""
        return tuple(Share(worker=w, of=self.processes) for w in range(self.processes))


def most_streams(plan: SwarmPlan) -> int:
    """Streams that may be open at once: the users of a closed loop, the cap of an open one."""
    return plan.users if plan.arrivals is None else plan.arrivals.max_in_flight


def split_of(plan: SwarmPlan) -> Split:
    """What was asked for; else one process for each 64 streams, on as many cores as there are."""
    if plan.processes is not None:
        return Split(processes=plan.processes, reason="asked for")
    streams = most_streams(plan)
    wanted = -(-streams // MOST_USERS_A_PROCESS)
    most = f"{streams} streams at most, {MOST_USERS_A_PROCESS} a process"
    if wanted <= 1:
        return Split(processes=1, reason=most)
    if len(plan.cores) < 2:
        own = "one core" if plan.cores else "no core"
        return Split(processes=1, reason=f"{most}, but the load generator has {own} of its own")
    if wanted > len(plan.cores):
        most += f", and one process a core of {len(plan.cores)}"
    return Split(processes=min(wanted, len(plan.cores)), reason=most)


def check_split(plan: SwarmPlan, split: Split) -> None:
    """`UserMistake` for more processes than there is work to divide."""
    if split.processes < 1:
        raise _mistake(split, "at least one is needed")
    if split.processes > most_streams(plan):
        what = "users" if plan.arrivals is None else "requests in flight at most"
        raise _mistake(split, f"there are {most_streams(plan)} {what} to divide among them")


def _mistake(split: Split, found: str) -> UserMistake:
    return UserMistake(
        f"{split.processes} processes", found, next_step="leave --processes out, or give fewer"
    )
