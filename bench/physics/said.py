"""What a variant could reach at best, said on stderr before it is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quantswarm.bench.load.scenario import Scenario
from quantswarm.bench.physics.ceiling import Physics
from quantswarm.bench.physics.expected import expected
from quantswarm.bench.physics.words import lines


def say_ceilings(
    physics: Physics | None, scenario: Scenario, users: Sequence[int], say: Callable[[str], None]
) -> None:
    """What can be had at best, said before it is measured; nothing without weights. No `users`
    stand for an open loop, whose ceiling is that of all that are served at once."""
    if physics is None:
        return
    lengths = expected(scenario)
    ceilings = [(_load(count), physics.ceiling(count, lengths)) for count in users or (0,)]
    for line in lines(ceilings):
        say(line)


def _load(users: int) -> str:
    if not users:
        return "all places taken"
    return f"{users} user{'' if users == 1 else 's'}"
