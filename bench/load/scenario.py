"""What one user asks for: a scenario file, read strictly. docs/scenarios.md has every key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from quantswarm.bench import config_file
from quantswarm.bench.load.lengths import (
    FEWEST_PROMPT_TOKENS,
    Length,
    length_from,
    length_json,
    longest,
    shortest,
)
from quantswarm.bench.load.scenario_keys import READERS, mistake, objectives, seconds, sha256_of
from quantswarm.bench.slo import Slo
from quantswarm.models.errors import BadFile

FOLDER = Path(__file__).parent.parent / "scenarios"
MIXED = "mix"
"""The `api` of a mix, whose requests use each their own component's."""
_DURATIONS = ("warmup_s", "duration_s", "drain_s")
_OWN_LENGTHS = ("prompt_tokens", "output_tokens")
_OF_MADE_PROMPTS = ("shared_prefix_tokens", "prefixes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Lengths and the API to use; the durations are defaults that a run may replace.

    With `api` "chat" the server's template adds its own tokens to `prompt_tokens`. Lengths are None
    in a mix, and may be with `data`, which then gives them. `mix` holds (weight, component) pairs.
    `data` is the absolute path of a data set, `data_sha256` its content's.
    """

    name: str
    api: str
    prompt_tokens: Length | None = None
    output_tokens: Length | None = None
    description: str = ""
    warmup_s: float = 5.0
    duration_s: float = 30.0
    drain_s: float = 30.0
    shared_prefix_tokens: int = 0
    prefixes: int = 1
    turns: Length = 1
    think_time_s: float = 0.0
    data: str | None = None
    data_sha256: str | None = None
    longest_prompt_tokens: int | None = None
    mix: tuple[tuple[float, Scenario], ...] = ()
    slo: Slo | None = None

    @property
    def components(self) -> tuple[Scenario, ...]:
        """What requests are drawn from: those of the mix, else the scenario itself."""
        return tuple(part for _, part in self.mix) or (self,)

    @property
    def shares_prefixes(self) -> bool:
        """Whether prompts begin alike on purpose, so that a prefix cache is meant to help."""
        return any(c.shared_prefix_tokens or longest(c.turns) > 1 for c in self.components)

    @property
    def is_plain(self) -> bool:
        """Whether two lengths say everything: no prefix, turns, mix or data set."""
        return not self._extras()

    def digest(self) -> str:
        """Changes with what is asked of the server; name, words, durations and objectives do
        not count."""
        return hashlib.sha256(json.dumps(self.asked(), sort_keys=True).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        """The form that manifests and plans store; what a scenario does not use is not in it."""
        return {
            "name": self.name,
            "api": self.api,
            "prompt_tokens": _json(self.prompt_tokens),
            "output_tokens": _json(self.output_tokens),
            "description": self.description,
            **{key: getattr(self, key) for key in _DURATIONS},
            **self._extras(),
            **({"slo": self.slo.as_json()} if self.slo is not None else {}),
        }

    def asked(self) -> dict[str, Any]:
        """What the digest covers."""
        asked = {"api": self.api, "in": _json(self.prompt_tokens), "out": _json(self.output_tokens)}
        extras = {key: value for key, value in self._extras().items() if key != "data"}
        if self.mix:
            extras["mix"] = [[weight, part.asked()] for weight, part in self.mix]
        return {**asked, **extras}

    def _extras(self) -> dict[str, Any]:
        """Whatever is not as it would be if its key had been left out."""
        found: dict[str, Any] = {}
        for name in ("shared_prefix_tokens", "prefixes", "turns", "think_time_s", *_DATA):
            if getattr(self, name) != _DEFAULTS[name]:
                found[name] = getattr(self, name)
        if "turns" in found:
            found["turns"] = length_json(self.turns)
        if self.mix:
            found["mix"] = [{"weight": w, "scenario": part.as_json()} for w, part in self.mix]
        return found


_DATA = ("data", "data_sha256", "longest_prompt_tokens")
_DEFAULTS: Mapping[str, Any] = {entry.name: entry.default for entry in fields(Scenario)}


def _json(length: Length | None) -> int | dict[str, Any] | None:
    return None if length is None else length_json(length)


def scenario_from_json(raw: Mapping[str, Any]) -> Scenario:
    """What `as_json` gave."""
    found = dict(raw)
    for key in (*_OWN_LENGTHS, "turns"):
        if found.get(key) is not None:
            found[key] = length_from(found[key], 1)
    mix = [(part["weight"], scenario_from_json(part["scenario"])) for part in found.pop("mix", ())]
    slo = found.pop("slo", None)
    return Scenario(**found, mix=tuple(mix), slo=Slo(**slo) if slo else None)


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
    """A scenario from a parsed document; `path` gives the name and serves messages, and files that
    the document names are looked for beside it."""
    allowed = [entry.name for entry in fields(Scenario) if entry.name != "data_sha256"]
    config_file.check_keys(document, allowed, path)
    common: dict[str, Any] = {
        "name": str(document.get("name", path.stem)),
        "description": str(document.get("description", "")),
        "slo": objectives(document.get("slo"), path),
        **{key: seconds(document, key, path) for key in _DURATIONS if key in document},
    }
    if "mix" in document:
        return Scenario(api=MIXED, mix=_mix(document, path), **common)
    _check_together(document, path)
    asked: dict[str, Any] = {}
    for key, read in READERS.items():
        if key in document:
            asked[key] = read(document, key, path)
    if asked.get("data") is not None:
        asked["data_sha256"] = sha256_of(Path(asked["data"]))
    return _checked(Scenario(**common, **asked), path)


def with_data(scenario: Scenario, data: Path) -> Scenario:
    """The scenario asking what is in a data set, in place of made text; its own output length is
    for entries that have none. `BadFile` for a scenario that is more than a pair of lengths."""
    if not scenario.is_plain:
        raise BadFile(
            f"data set {data} for scenario {scenario.name}",
            "a scenario with a shared prefix, turns, a mix or data of its own has its own prompts",
            next_step="name the data set in a scenario file of its own (data = …), or drop --data",
        )
    place = data.resolve()
    return replace(scenario, prompt_tokens=None, data=str(place), data_sha256=sha256_of(place))


def _check_together(document: Mapping[str, Any], path: Path) -> None:
    """Keys that are missing, or that contradict each other."""
    required = ("api",) if "data" in document else ("api", *_OWN_LENGTHS)
    for key in required:
        if key not in document:
            raise mistake(path, f"{key!r} is missing")
    for key in ("prompt_tokens", *_OF_MADE_PROMPTS):
        if "data" in document and key in document:
            raise mistake(path, f"{key!r} and a data set, whose prompts are what they are")
    if "longest_prompt_tokens" in document and "data" not in document:
        raise mistake(path, "'longest_prompt_tokens' is for a data set: give max in prompt_tokens")
    if "prefixes" in document and "shared_prefix_tokens" not in document:
        raise mistake(path, "'prefixes' without 'shared_prefix_tokens', which is how long they are")


def _checked(scenario: Scenario, path: Path) -> Scenario:
    """What can only be seen once every value is read."""
    room = scenario.shared_prefix_tokens + FEWEST_PROMPT_TOKENS
    if scenario.shared_prefix_tokens and scenario.prompt_tokens is not None:
        least = shortest(scenario.prompt_tokens)
        if least < room:
            raise mistake(
                path,
                f"prompts of {least} tokens cannot hold a shared prefix of "
                f"{scenario.shared_prefix_tokens} and {FEWEST_PROMPT_TOKENS} of their own",
            )
    if longest(scenario.turns) > 1 and scenario.api != "chat":
        raise mistake(path, "turns are a conversation, and need api = 'chat'")
    if scenario.think_time_s and longest(scenario.turns) == 1:
        raise mistake(path, "'think_time_s' is the pause between turns, and there is one turn")
    return scenario


def _mix(document: Mapping[str, Any], path: Path) -> tuple[tuple[float, Scenario], ...]:
    for key in READERS:
        if key in document:
            raise mistake(path, f"{key!r} belongs to the scenarios of a mix, not to the mix")
    entries = document["mix"]
    if not isinstance(entries, list) or not entries:
        raise mistake(path, "mix must be tables, each under a line [[mix]]")
    return tuple(_component(entry, path) for entry in entries)


def _component(entry: object, path: Path) -> tuple[float, Scenario]:
    if not isinstance(entry, dict) or set(entry) != {"scenario", "weight"}:
        raise mistake(path, f"an entry of the mix needs 'scenario' and 'weight', found {entry!r}")
    weight, name = entry["weight"], entry["scenario"]
    if type(weight) not in (int, float) or not 0 < weight < 1e6:
        raise mistake(path, f"weight must be a number above 0, found {weight!r}")
    if not isinstance(name, str):
        raise mistake(path, f"scenario must be a name or the path of a file, found {name!r}")
    found = config_file.find("scenario", name, FOLDER)
    file = found if found.parent == FOLDER else path.parent / found
    document = config_file.read("scenario", file)
    if "mix" in document:
        raise mistake(path, f"scenario {name!r} is a mix itself, and mixes do not nest")
    return float(weight), scenario_from(document, file)
