"""Every error a user can meet, as one tree.

    QuantswarmError            exit code 1
    ├── UserMistake            exit code 2: the command can be mended
    │   ├── UnknownName        an engine, quantization, model … that does not exist
    │   ├── UnsupportedPair    both exist, and cannot work together (here)
    │   ├── BadFile            missing, corrupt, truncated, or not what it should be
    │   └── PortInUse          something else listens there
    ├── NotAvailable           this machine lacks what was asked for (package, compiler, GPU, hub)
    ├── NoSpace                disk or memory would not suffice
    ├── BuildFailed            a recipe's or set-up's tool failed
    └── RunFailed              a server or a swarm failed
        ├── ServerDied         it exited while starting or serving; carries its last log lines
        └── ServerNotReady     it did not answer within the time-out

A message has four parts: what was asked, what was found, the evidence or the choices, and the
next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class QuantswarmError(Exception):
    """Base of the tree; `str()` is the whole message, ready to print without a traceback."""

    exit_code = 1

    def __init__(self, asked: str, found: str, *, evidence: str = "", next_step: str = "") -> None:
        self.asked = asked
        self.found = found
        self.evidence = evidence
        self.next_step = next_step
        super().__init__(self._message())

    def _message(self) -> str:
        lines = [f"{self.asked}: {self.found}"]
        if self.evidence:
            lines.append(self.evidence)
        if self.next_step:
            lines.append(f"Next: {self.next_step}")
        return "\n".join(lines)


class UserMistake(QuantswarmError):
    """The command, as given, cannot work; another one can."""

    exit_code = 2


class UnknownName(UserMistake):
    """A name that is in no catalogue; near misses come first."""

    def __init__(self, kind: str, asked: str, choices: Iterable[str], *, next_step: str) -> None:
        self.choices = tuple(sorted(choices))
        near = difflib.get_close_matches(asked, self.choices, n=3, cutoff=0.5)
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        super().__init__(
            f"{kind} {asked!r}",
            "no such name",
            evidence=f"{meant}Choices: {', '.join(self.choices) or 'none'}.",
            next_step=next_step,
        )


class UnsupportedPair(UserMistake):
    """Two names that exist and do not go together."""


class BadFile(UserMistake):
    """A path that is missing, corrupt or of another kind than needed."""


class PortInUse(UserMistake):
    """The port to listen on is taken."""


class NotAvailable(QuantswarmError):
    """Something this machine lacks; the message names the cure."""


class NoSpace(QuantswarmError):
    """Too little disk or memory for what was asked."""


class BuildFailed(QuantswarmError):
    """A tool that builds an artefact or an engine failed."""


class RunFailed(QuantswarmError):
    """A server or a swarm failed while measuring."""


class ServerDied(RunFailed):
    """The server's process ended by itself."""


class ServerNotReady(RunFailed):
    """The server lives and does not answer."""
