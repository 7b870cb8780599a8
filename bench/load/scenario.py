"""What one user asks for: a scenario file, read strictly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from quantswarm.bench import config_file
from quantswarm.bench.slo import Slo, slo_from
from quantswarm.models.errors import BadFile, UserMistake

FOLDER = Path(__file__).parent.parent / "scenarios"
APIS = ("completions", "chat")
_REQUIRED = ("api", "prompt_tokens", "output_tokens")
_DURATIONS = ("warmup_s", "duration_s", "drain_s")
FEWEST_PROMPT_TOKENS = 24
"""Room for the id that makes a prompt unique, and some text after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Exact lengths and the API to use; the durations are defaults that a run may replace.

    With `api` "chat" the server's template adds its own tokens to `prompt_tokens`.
    """

    name: str
    api: str
    prompt_tokens: int
    output_tokens: int
    description: str = ""
    warmup_s: float = 5.0
    duration_s: float = 30.0
    drain_s: float = 30.0
    slo: Slo | None = None

    def digest(self) -> str:
        """Changes with what is asked of the server; name, words, durations and objectives do
        not count."""
        asked = {"api": self.api, "in": self.prompt_tokens, "out": self.output_tokens}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        """The form that manifests and plans store."""
        return asdict(self)


def stored_scenario(raw: Mapping[str, Any]) -> Scenario:
    """What `as_json` gave."""
    slo = raw.get("slo")
    return Scenario(**{**raw, "slo": Slo(**slo) if slo else None})


def scenarios() -> Mapping[str, Scenario]:
    """The scenarios that ship with the package, by name."""
    return {path.stem: read_scenario(path) for path in sorted(FOLDER.glob("*.toml"))}


def scenario_named(name: str) -> Scenario:
    """A shipped scenario, or the `.toml` file at that path; `UnknownName` with near misses."""
    return read_scenario(config_file.find("scenario", name, FOLDER))


def read_scenario(path: Path) -> Scenario:
    """Parse and check one file; `BadFile` says what is wrong with it."""
    return scenario_from(config_file.read("scenario", path), path)


def scenario_from(document: Mapping[str, Any], path: Path) -> Scenario:
    """A scenario from a parsed document; `path` gives the name and serves messages."""
    config_file.check_keys(document, [field.name for field in fields(Scenario)], path)
    for key in _REQUIRED:
        if key not in document:
            raise _wrong(path, f"{key!r} is missing")
    if document["api"] not in APIS:
        raise _wrong(path, f"api {document['api']!r} is none of {', '.join(APIS)}")
    return Scenario(
        name=str(document.get("name", path.stem)),
        description=str(document.get("description", "")),
        api=document["api"],
        prompt_tokens=_tokens(document, "prompt_tokens", FEWEST_PROMPT_TOKENS, path),
        output_tokens=_tokens(document, "output_tokens", 1, path),
        slo=_slo(document.get("slo"), path),
        **{key: _seconds(document, key, path) for key in _DURATIONS if key in document},
    )


def _tokens(document: Mapping[str, Any], key: str, least: int, path: Path) -> int:
    value = document[key]
    if type(value) is not int or value < least:
        raise _wrong(path, f"{key} must be a whole number of at least {least}, found {value!r}")
    return value


def _seconds(document: Mapping[str, Any], key: str, path: Path) -> float:
    value = document[key]
    if type(value) not in (int, float) or not 0 <= value < 1e6:
        raise _wrong(path, f"{key} must be seconds, found {value!r}")
    return float(value)


def _slo(table: object, path: Path) -> Slo | None:
    if table is None:
        return None
    if not isinstance(table, dict):
        raise _wrong(path, f"slo must be a table, found {table!r}")
    try:
        return slo_from(table, "slo")
    except UserMistake as error:
        raise _wrong(path, f"[slo] {error.found}") from None


def _wrong(path: Path, found: str) -> BadFile:
    return config_file.wrong("scenario", path, found)
