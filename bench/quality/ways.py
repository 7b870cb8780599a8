"""How an engine's distributions are had: by its endpoint, or in process by its own libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantswarm.models.errors import UserMistake

if TYPE_CHECKING:
    from quantswarm.engines.base import Engine

ENDPOINT, IN_PROCESS = "endpoint", "in-process"
_ECHO = "echo"
"""The dialect that scores the prompt's own tokens."""


def way_of(engine: Engine) -> str:
    """`UserMistake`, with the engines that can, where there is neither way."""
    found = _way(engine)
    if found is None:
        from quantswarm.engines.registry import engines

        able = [f"{one.name} ({_way(one)})" for one in engines().values() if _way(one)]
        raise UserMistake(
            f"quality of {engine.name}",
            "its server tells no log-probabilities of a prompt that can be trusted",
            evidence=f"Engines whose quality can be measured: {', '.join(able)}.",
            next_step="measure the same weights through one of them",
        )
    return found


def require_endpoint(engine: Engine) -> None:
    """`UserMistake` where a server that was not started here cannot be measured."""
    if way_of(engine) != ENDPOINT:
        raise UserMistake(
            f"quality of {engine.name} at --url",
            "its server scores no prompts, and how it was started is not known",
            next_step="leave --url out: the server is started, and its libraries are asked",
        )


def can(engine: Engine) -> bool:
    """Whether there is a way."""
    return _way(engine) is not None


def _way(engine: Engine) -> str | None:
    if engine.scores_in_process:
        return IN_PROCESS
    return ENDPOINT if engine.logprobs_by == _ECHO else None
