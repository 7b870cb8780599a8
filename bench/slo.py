"""Service-level objectives: limits that an answer must keep, and the share of answers that must."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quantswarm.models.errors import UserMistake

DEFAULT_SHARE = 0.99
LIMITS = ("ttft_ms", "tpot_ms", "e2e_ms")
KEYS = (*LIMITS, "share")
EXAMPLE = 'e.g. --slo "ttft_ms<200,tpot_ms<50"'
_TERM = re.compile(r"\s*(\w+)\s*<=?\s*([^\s<]+)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """Most milliseconds an answer may take, each None where there is no limit.

    TTFT and E2E count from the intended start, so waiting inside the client is in them. Without
    any limit an answer only has to be whole. `share` is the part of the requests that must meet
    all of it.
    """

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None
    share: float = DEFAULT_SHARE

    @property
    def limits(self) -> dict[str, float]:
        """The limits there are, by the metric's name: "ttft", "tpot", "e2e"."""
        given = {name.removesuffix("_ms"): getattr(self, name) for name in LIMITS}
        return {name: limit for name, limit in given.items() if limit is not None}

    def longest_ms(self, output_tokens: int) -> float | None:
        """An answer that takes longer than this breaks some limit; None where that cannot be said.

        E2E is TTFT + TPOT × (tokens − 1), so limits of those two are one of E2E too.
        """
        found = [] if self.e2e_ms is None else [self.e2e_ms]
        if self.ttft_ms is not None and self.tpot_ms is not None:
            found.append(self.ttft_ms + self.tpot_ms * max(0, output_tokens - 1))
        return min(found, default=None)

    def as_json(self) -> dict[str, float | None]:
        """The form that manifests and plans store."""
        return asdict(self)

    def __str__(self) -> str:
        limits = [f"{name.upper()} ≤ {limit:g} ms" for name, limit in self.limits.items()]
        return f"{', '.join(limits) or 'a whole answer'} for {self.share:.6g} of the requests"


def slo_from(table: Mapping[str, Any], where: str) -> Slo:
    """Checked; `where` names the place in messages. Raises `UserMistake`."""
    for key in table:
        if key not in KEYS:
            raise _mistake(where, f"no objective is called {key!r}")
    for key in LIMITS:
        if table.get(key) is not None:
            _check_limit(where, key, table[key])
    share = table.get("share", DEFAULT_SHARE)
    if type(share) not in (int, float) or not 0 < share < 1:
        raise _mistake(where, f"share must lie between 0 and 1, found {share!r}")
    return Slo(**{key: float(value) for key, value in table.items() if value is not None})


def parse_slo(text: str) -> Slo:
    """`ttft_ms<200,tpot_ms<50,share=0.95` as it is written on the command line."""
    table: dict[str, float] = {}
    for term in filter(str.strip, text.split(",")):
        match = _TERM.fullmatch(term.replace("share=", "share<"))
        try:
            key, value = (match[1], float(match[2])) if match else ("", math.nan)
        except ValueError:
            key, value = "", math.nan
        if not key or key in table:
            raise _mistake(f"--slo {text}", f"{term.strip()!r} is not NAME<MILLISECONDS, said once")
        table[key] = value
    if not table:
        raise _mistake("--slo", "it is empty")
    return slo_from(table, f"--slo {text}")


def _check_limit(where: str, key: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise _mistake(where, f"{key} must be milliseconds above 0, found {value!r}")


def _mistake(where: str, found: str) -> UserMistake:
    return UserMistake(where, found, evidence=f"Objectives: {', '.join(KEYS)}.", next_step=EXAMPLE)
