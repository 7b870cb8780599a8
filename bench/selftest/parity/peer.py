"""A load generator as the comparison sees it: how it is installed, started and read."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from quantswarm.models.errors import RunFailed

TTFT, TPOT, ITL = "ttft", "tpot", "itl"
METRICS = (TTFT, TPOT, ITL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A closed loop: `users` at once until `requests` are answered, all of one length.

    `lasts_s` is what that takes when the server keeps its plan. `folder` is the tool's own, for
    this run; `tokenizer` a Hugging Face folder, for tools that make their prompts of tokens.
    """

    root_url: str
    model: str
    api: str
    users: int
    requests: int
    prompt_tokens: int
    output_tokens: int
    lasts_s: float
    folder: Path
    tokenizer: Path

    @property
    def is_chat(self) -> bool:
        """Whether the chat API is asked, and not that of completions."""
        return self.api == "chat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What to run; `env` is laid over the environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a tool calls one of our metrics, and which formula of `truth.FORMULAS` it computes."""

    called: str
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Milliseconds; None: the tool does not say."""

    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request as the tool counts it. `id` None: it keeps none; then `started_s` (any clock,
    one for all its requests) gives its place among the others."""

    ok: bool
    id: str | None = None
    started_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A tool's result file in one form, its own numbers unchanged.

    `span_ns` is what its throughput was divided by, on the ledger's clock; None: from the first
    request to the last token, or near to it.
    """

    latencies: Mapping[str, Quantiles]
    output_tokens: int | None
    output_tokens_per_s: float | None
    succeeded: int | None
    failed: int | None
    requests: tuple[Seen, ...] = ()
    span_ns: tuple[int, int] | None = None


class Peer(ABC):
    """One tool. `requirement` None: it runs in the project's own environment."""

    name: ClassVar[str]
    summary: ClassVar[str]
    requirement: ClassVar[str | None] = None
    needs: ClassVar[tuple[str, ...]] = ()
    """Further pinned packages for its environment."""
    meanings: ClassVar[Mapping[str, Meaning]]

    def obstacle(self) -> str | None:
        """Why it cannot run here, though its environment may be there; None: it can."""
        return None

    @abstractmethod
    def version(self) -> str:
        """For the table."""

    @abstractmethod
    def start(self, python: Path, load: Load) -> Start:
        """The command for a load; `python` is the interpreter of the tool's environment.

        May write into the load's folder what the tool is to read."""

    @abstractmethod
    def read(self, load: Load) -> Reported:
        """The result that the tool left; raises `RunFailed` where there is none."""


def result_in(path: Path) -> Any:
    """The JSON document of a result file; `RunFailed` where it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFailed("read its result", f"{path.name}: {error}") from error


def pinned_version(requirement: str) -> str:
    """`1.2.3` of `name==1.2.3`."""
    return requirement.partition("==")[2]
