"""What the main job measures: a matrix file, read strictly, and the cells it unfolds to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from quantswarm.bench import config_file
from quantswarm.bench.claims import Claim, claims_in
from quantswarm.bench.load.arrivals import Arrivals
from quantswarm.bench.open_loads import arrivals_in, at_rates, rates_in
from quantswarm.bench.quality.asked import Asked, asked_in
from quantswarm.bench.quantity import AUTO
from quantswarm.models.errors import BadFile, UnknownName

FOLDER = Path(__file__).parent / "matrices"
HARDWARE = ("cpu", "cuda")
"""What a variant may say that it `needs` its server to compute on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One server to start. `gpu_layers` is a number, `all`, `half`, `none`, or None: the engine's
    own choice.

    `eager` None leaves vLLM's graph compilation to the matrix's default, which is vLLM's own.
    `options` are the engine's own, as `--option` gives them. `label` sets apart variants that
    engine and quantization do not. `slots` is how many requests at once its server makes room for,
    None as many as its loads need. A variant with `needs` is left out where its server would
    compute on something else. `users` are its own closed loops; empty takes the matrix's.
    """

    engine: str
    quant: str
    model: str
    gpu_layers: str | None = None
    eager: bool = False
    threads: int | None = None
    label: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    slots: int | None = None
    needs: str | None = None
    users: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """What people call it, e.g. as `baseline`; with the model it is unique in a matrix."""
        offload = "" if self.gpu_layers is None else f"-ngl_{self.gpu_layers}"
        return self.label or f"{self.engine}-{self.quant}{offload}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One variant under one load in one round; `name` is its folder.

    `users` is 0 where arrivals are given. `block` counts the servers of a run in the order they
    are started, from 1; `seed` is the round's, so that all its cells follow the same plan.
    """

    variant: Variant
    users: int
    name: str
    arrivals: Arrivals | None = None
    round: int = 1
    block: int = 1
    seed: int = 0

    @property
    def server(self) -> str:
        """The name of its server's log: one server serves all loads of a variant in a round."""
        again = "" if self.round == 1 else f"-round{self.round}"
        return f"{_stem(self.variant)}{again}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Variants × loads under one scenario, `rounds` times. Durations in seconds; None takes the
    scenario's.

    Loads are numbers of users (closed loops) and open loops: `arrivals` at each of `rates`, or as
    they are. `slots` is how many requests at once a server makes room for; None: as many as the
    most users, or the default. `baseline` is a variant's name that the others are compared with.
    `processes` of the load generator, None as many as a cell's users need. `quality` is measured
    once a variant, after its last load; None leaves it out. `claims` are what others report of
    the same variants, to be held against what is measured.
    """

    name: str
    model: str
    scenario: str
    users: tuple[int, ...]
    variants: tuple[Variant, ...]
    warmup_s: float | None = None
    duration_s: float | None = None
    seed: int = 0
    arrivals: Arrivals | None = None
    rates: tuple[float, ...] = ()
    rounds: int = 1
    slots: int | None = None
    baseline: str | None = None
    processes: int | None = None
    quality: Asked | None = None
    claims: tuple[Claim, ...] = ()

    def places_of(self, variant: Variant) -> int | None:
        """Requests at once that its server must hold; None leaves it to the default."""
        most = max(self.users_of(variant), default=None)
        return variant.slots or self.slots or most

    def users_of(self, variant: Variant) -> tuple[int, ...]:
        """The numbers of users that a variant is measured with, few first."""
        return tuple(sorted(variant.users or self.users))

    def cells(self) -> tuple[Cell, ...]:
        """In the order they run: one server after another, each from few users to many.

        Every second round goes backwards (A B, B A), so that what drifts with time falls on all
        variants alike.
        """
        return tuple(
            self._cell(variant, load, number, (number - 1) * len(self.variants) + place)
            for number in range(1, self.rounds + 1)
            for place, variant in enumerate(self._in_round(number), start=1)
            for load in self._loads(variant)
        )

    def _in_round(self, number: int) -> tuple[Variant, ...]:
        return self.variants if number % 2 else self.variants[::-1]

    def _loads(self, variant: Variant) -> tuple[int | Arrivals, ...]:
        return (*self.users_of(variant), *at_rates(self.arrivals, self.rates))

    def _cell(self, variant: Variant, load: int | Arrivals, number: int, block: int) -> Cell:
        again = "" if number == 1 else f"-round{number}"
        model = "" if variant.model == self.model else "-" + _slug(variant.model)
        return Cell(
            variant=variant,
            users=load if isinstance(load, int) else 0,
            name=f"{_stem(variant, model)}-{_load_name(load)}{again}",
            arrivals=None if isinstance(load, int) else load,
            round=number,
            block=block,
            seed=self.seed + number - 1,
        )

    def digest(self) -> str:
        """Changes whenever anything measured in cells does; a resumed run must have the same."""
        facts = {key: value for key, value in asdict(self).items() if key not in _OUTSIDE_CELLS}
        _leave_out_defaults(facts, Matrix, ("arrivals", "rates", "rounds", "slots", "processes"))
        for variant in facts["variants"]:
            _leave_out_defaults(variant, Variant, ("label", "options", "slots", "needs", "users"))
        text = json.dumps(facts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_OUTSIDE_CELLS = ("baseline", "quality", "claims")


def _leave_out_defaults(
    facts: dict[str, Any], kind: type[Matrix | Variant], keys: tuple[str, ...]
) -> None:
    """Keys added later do not change the digest of a matrix that does not use them."""
    for entry in fields(kind):
        if entry.name in keys and facts[entry.name] == entry.default:
            del facts[entry.name]


def _stem(variant: Variant, model: str = "") -> str:
    label = "" if variant.label is None else "-" + _slug(variant.label)
    offload = "" if variant.gpu_layers is None else f"-ngl_{variant.gpu_layers}"
    return f"{variant.engine}-{variant.quant}{label}{model}{offload}"


def _load_name(load: int | Arrivals) -> str:
    if isinstance(load, int):
        return f"u{load}"
    return load.kind if load.rate is None else f"r{load.rate:g}"


def matrix_named(name: str) -> Matrix:
    """A matrix shipped in `bench/matrices`, or the file at that path."""
    return read_matrix(config_file.find("matrix", name, FOLDER))


def read_matrix(path: Path) -> Matrix:
    """Parse and check a matrix file; `BadFile` says what is wrong and what is allowed."""
    return matrix_from(config_file.read("matrix", path), path)


def matrix_from(document: Mapping[str, Any], path: Path) -> Matrix:
    """A matrix from its parsed document; `path` serves messages only."""
    tables = {"variant", "claim"}
    config_file.check_keys(document, {*_names_of(Matrix) - {"variants", "claims"}, *tables}, path)
    for key in ("model", "scenario", "variant"):
        if not document.get(key):
            raise _wrong(path, f"{key!r} is missing or empty")
    model, rates = str(document["model"]), rates_in(document, path)
    variants, users = _variants(document["variant"], model, path), _users(document, path)
    matrix = Matrix(
        name=_slug(str(document.get("name", path.stem)), "._-"),
        model=model,
        scenario=str(document["scenario"]),
        users=users,
        variants=variants,
        warmup_s=_seconds(document, "warmup_s", path, zero=True),
        duration_s=_seconds(document, "duration_s", path),
        seed=_whole(document.get("seed", 0), "seed", path, least=None),
        arrivals=arrivals_in(document, rates, path),
        rates=rates,
        rounds=_whole(document.get("rounds", 1), "rounds", path, least=1),
        slots=_slots(document, path),
        baseline=None if "baseline" not in document else str(document["baseline"]),
        processes=_processes(document.get("processes"), path),
        quality=asked_in(document, model, path),
        claims=claims_in(document, [(v.name, v.model) for v in variants], users, path),
    )
    if not matrix.users and matrix.arrivals is None:
        raise _wrong(path, "'users' is missing or empty, and there are no 'rates'")
    _check_distinct(matrix, path)
    return matrix


def _variants(entries: object, model: str, path: Path) -> tuple[Variant, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _wrong(path, "variants must be tables, each under a line [[variant]]")
    return tuple(_variant(entry, model, path) for entry in entries)


def _variant(entry: Mapping[str, Any], model: str, path: Path) -> Variant:
    config_file.check_keys(entry, _names_of(Variant), path)
    if "engine" not in entry or "quant" not in entry:
        raise _wrong(path, f"a variant needs engine and quant: {dict(entry)}")
    layers, threads, label = entry.get("gpu_layers"), entry.get("threads"), entry.get("label")
    if not isinstance(entry.get("eager", False), bool):
        raise _wrong(path, f"eager must be true or false, found {entry['eager']!r}")
    return Variant(
        engine=str(entry["engine"]),
        quant=str(entry["quant"]),
        model=str(entry.get("model", model)),
        gpu_layers=None if layers is None else str(layers),
        eager=entry.get("eager", False),
        threads=None if threads is None else _whole(threads, "threads", path, least=1),
        label=None if label is None else str(label),
        options=_options(entry.get("options", {}), path),
        slots=_slots(entry, path),
        needs=_needs(entry.get("needs"), path),
        users=_users(entry, path),
    )


def _slots(entry: Mapping[str, Any], path: Path) -> int | None:
    value = entry.get("slots")
    return None if value is None else _whole(value, "slots", path, least=1)


def _needs(value: object, path: Path) -> str | None:
    if value is not None and value not in HARDWARE:
        raise UnknownName(
            f"needs of a variant in {path}", str(value), HARDWARE, next_step="mend the file"
        )
    return None if value is None else str(value)


def _options(value: object, path: Path) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or any(isinstance(v, dict | list) for v in value.values()):
        raise _wrong(path, f'options must be like {{ key = "value" }}, found {value!r}')
    return tuple((str(key), str(option)) for key, option in value.items())


def _users(document: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    value = document.get("users", [])
    counts = value if isinstance(value, list) else [value]
    if not all(type(count) is int and count > 0 for count in counts):
        raise _wrong(path, f"users must be positive whole numbers, found {value!r}")
    return tuple(sorted(set(counts)))


def _processes(value: object, path: Path) -> int | None:
    return None if value in (None, AUTO) else _whole(value, "processes", path, least=1)


def _whole(value: object, key: str, path: Path, *, least: int | None) -> int:
    if type(value) is not int or (least is not None and value < least):
        bound = "" if least is None else f" of {least} or more"
        raise _wrong(path, f"{key} must be a whole number{bound}, found {value!r}")
    return value


def _seconds(
    document: Mapping[str, Any], key: str, path: Path, *, zero: bool = False
) -> float | None:
    value = document.get(key)
    if value is None:
        return None
    if type(value) not in (int, float) or not ((zero and value == 0) or 0 < value < 1e6):
        raise _wrong(path, f"{key} must be seconds{'' if zero else ' above 0'}, found {value!r}")
    return float(value)


def _wrong(path: Path, found: str) -> BadFile:
    return config_file.wrong("matrix", path, found)


def _names_of(kind: type[Matrix | Variant]) -> set[str]:
    return {field.name for field in fields(kind)}


def _check_distinct(matrix: Matrix, path: Path) -> None:
    names = [cell.name for cell in matrix.cells()]
    called = [(variant.name, variant.model) for variant in matrix.variants]
    twice = sorted({name for name in names if names.count(name) > 1})
    twice = twice or sorted({name for name, _ in called if called.count((name, _)) > 1})
    if twice:
        raise _wrong(path, f"the same cell twice: {', '.join(twice)}; set them apart by label")
    known = [variant.name for variant in matrix.variants]
    if matrix.baseline is not None and matrix.baseline not in known:
        raise UnknownName(f"baseline in {path}", matrix.baseline, known, next_step="mend the file")


def _slug(text: str, kept: str = "._") -> str:
    """Fit for a folder's name. In cells "-" separates the parts, so a part must not hold one."""
    return "".join(c if c.isalnum() or c in kept else "_" for c in text)
