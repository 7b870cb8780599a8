"""Engine options (`--option name=value`), checked against those that the engine knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantswarm.models.errors import UnknownName, UserMistake

FACTS = ("process_cores", "kv_elements_per_token", "cpu_isa", "memory_bytes")
"""Entries that `prepare` adds for every engine; not for users."""


def checked(engine: str, given: Mapping[str, str], known: Mapping[str, str]) -> Mapping[str, str]:
    """`given`, once every name in it is known to the engine (`known`: name → meaning)."""
    for name in given:
        if name not in known and name not in FACTS:
            raise UnknownName(f"{engine} option", name, known, next_step="--option name=value")
    return given


def switched_on(given: Mapping[str, str], name: str) -> bool:
    """Whether an on/off option is on; off when absent."""
    value = given.get(name, "off").lower()
    if value not in ("on", "off"):
        raise UserMistake(
            f"option {name}={value}", "must be on or off", next_step=f"--option {name}=on"
        )
    return value == "on"


def number(given: Mapping[str, str], name: str) -> float | None:
    """A numeric option, None when absent."""
    if name not in given:
        return None
    try:
        return float(given[name])
    except ValueError:
        raise UserMistake(
            f"option {name}={given[name]}", "must be a number", next_step=f"--option {name}=1"
        ) from None


def last_given(argv: Sequence[str], *names: str) -> str | None:
    """The value of an option in a command, by any of its names; the last one holds."""
    found = None
    for at, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name in names:
            found = value if equals else next(iter(argv[at + 1 : at + 2]), None)
    return found
