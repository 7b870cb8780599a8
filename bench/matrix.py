"""What the main job measures: a matrix file, read strictly, and the cells it unfolds to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from quantswarm.bench import config_file
from quantswarm.bench.load.arrivals import Arrivals
from quantswarm.bench.quantity import AUTO
from quantswarm.models.errors import BadFile

FOLDER = Path(__file__).parent / "matrices"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One server to start. `gpu_layers` is a number, `all`, or None for the engine's own choice.

    `eager` None leaves vLLM's graph compilation to the matrix's default, which is vLLM's own.
    """

    engine: str
    quant: str
    model: str
    gpu_layers: str | None = None
    eager: bool = False
    threads: int | None = None

    @property
    def name(self) -> str:
        return f"{self.engine}-{self.quant}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One variant under one load; `name` is its folder. `users` is 0 where arrivals are given."""

    variant: Variant
    users: int
    name: str
    arrivals: Arrivals | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Variants × users under one scenario. Durations in seconds; None takes the scenario's.

    `arrivals` replaces the users by one open loop; `users` is then the server's places only.
    `processes` of the load generator, None as many as a cell's users need.
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
    processes: int | None = None

    def cells(self) -> tuple[Cell, ...]:
        """In the order they run: one server after another, each from few users to many."""
        if self.arrivals is not None:
            return tuple(self._open_cell(variant, self.arrivals) for variant in self.variants)
        return tuple(
            Cell(variant=variant, users=users, name=self._cell_name(variant, f"u{users}"))
            for variant in self.variants
            for users in sorted(self.users)
        )

    def _open_cell(self, variant: Variant, arrivals: Arrivals) -> Cell:
        load = f"r{arrivals.rate:g}" if arrivals.rate is not None else arrivals.kind
        return Cell(
            variant=variant, users=0, name=self._cell_name(variant, load), arrivals=arrivals
        )

    def _cell_name(self, variant: Variant, load: str) -> str:
        model = "" if variant.model == self.model else "-" + _slug(variant.model)
        offload = "" if variant.gpu_layers is None else f"-ngl_{variant.gpu_layers}"
        return f"{variant.name}{model}{offload}-{load}"

    def digest(self) -> str:
        """Changes whenever anything in the matrix does; a resumed run must have the same."""
        fields = asdict(self)
        for later in ("arrivals", "processes"):  # a run of before them must have its old digest
            if fields[later] is None:
                del fields[later]
        text = json.dumps(fields, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def matrix_named(name: str) -> Matrix:
    """A matrix shipped in `bench/matrices`, or the file at that path."""
    return read_matrix(config_file.find("matrix", name, FOLDER))


def read_matrix(path: Path) -> Matrix:
    """Parse and check a matrix file; `BadFile` says what is wrong and what is allowed."""
    return matrix_from(config_file.read("matrix", path), path)


def matrix_from(document: Mapping[str, Any], path: Path) -> Matrix:
    """A matrix from its parsed document; `path` serves messages only."""
    allowed = {*_names_of(Matrix) - {"variants", "arrivals"}, "variant"}
    config_file.check_keys(document, allowed, path)
    for key in ("model", "scenario", "users", "variant"):
        if not document.get(key):
            raise _wrong(path, f"{key!r} is missing or empty")
    model = str(document["model"])
    matrix = Matrix(
        name=_slug(str(document.get("name", path.stem)), "._-"),
        model=model,
        scenario=str(document["scenario"]),
        users=_users(document["users"], path),
        variants=_variants(document["variant"], model, path),
        warmup_s=_seconds(document, "warmup_s", path, zero=True),
        duration_s=_seconds(document, "duration_s", path),
        seed=_whole(document.get("seed", 0), "seed", path, least=None),
        processes=_processes(document.get("processes"), path),
    )
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
    layers, threads = entry.get("gpu_layers"), entry.get("threads")
    if not isinstance(entry.get("eager", False), bool):
        raise _wrong(path, f"eager must be true or false, found {entry['eager']!r}")
    return Variant(
        engine=str(entry["engine"]),
        quant=str(entry["quant"]),
        model=str(entry.get("model", model)),
        gpu_layers=None if layers is None else str(layers),
        eager=entry.get("eager", False),
        threads=None if threads is None else _whole(threads, "threads", path, least=1),
    )


def _users(value: object, path: Path) -> tuple[int, ...]:
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
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _wrong(path, f"the same cell twice: {', '.join(twice)}")


def _slug(text: str, kept: str = "._") -> str:
    """Fit for a folder's name. In cells "-" separates the parts, so a part must not hold one."""
    return "".join(c if c.isalnum() or c in kept else "_" for c in text)
