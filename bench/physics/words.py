"""Ceilings in words: the lines before a variant's cells, and the small table of what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.report import numerals

Ceiling = Mapping[str, Any]


def lines(ceilings: Sequence[tuple[str, Ceiling]]) -> list[str]:
    """One line on bytes and machine, one on the ceilings by load; the reasons where there are
    none. Each of `ceilings` is a load in words and its document."""
    if not ceilings:
        return []
    first = ceilings[0][1]
    if all(ceiling["decode_tok_s"] is None for _, ceiling in ceilings):
        return [f"ceiling: n/a: {'; '.join(first['unknown'].values()) or 'not known'}"]
    told = [f"{load}: {_rates(ceiling)}" for load, ceiling in ceilings]
    return [f"ceiling: {basis(first)}", f"ceiling: {'; '.join(told)}"]


def basis(ceiling: Ceiling) -> str:
    """What the ceilings follow from."""
    host = ceiling["host"]
    kv = ceiling["kv_bytes_per_token"]
    cache = numerals.NA if kv is None else f"{numerals.whole(kv)} B"
    return (
        f"{numerals.megabytes(ceiling['weights_bytes_per_token'])} of weights read a step, "
        f"{cache} of cache a token of context; {numerals.plain(host['bandwidth_gb_s'])} GB/s, "
        f"{numerals.plain(host['gflops'])} GFLOP/s ({host['dtype'] or numerals.NA})"
    )


def _rates(ceiling: Ceiling) -> str:
    decode = f"decode ≤ {numerals.plain(ceiling['decode_tok_s'])} tok/s by {ceiling['bound']}"
    if ceiling["prefill_tok_s"] is None:
        return decode
    return f"{decode}, prefill ≤ {numerals.plain(ceiling['prefill_tok_s'])} tok/s"


COMPONENT_HEAD = ("component", "stored as", "bytes", "read a step", "held as")


def component_rows(ceiling: Ceiling) -> list[list[str]]:
    """A row for each part, then their sums."""
    parts = ceiling["components"]
    rows = [
        [
            part["component"],
            part["type"],
            numerals.whole(part["stored_bytes"]),
            numerals.whole(part["read_bytes"]),
            part["held_as"],
        ]
        for part in parts
    ]
    sums = [ceiling["stored_bytes"], ceiling["weights_bytes_per_token"]]
    return [*rows, ["all", "", *map(numerals.whole, sums), ""]] if rows else []


PART_HEAD = ("part", "stored as", "bytes", "weights", "bits a weight")


def part_rows(parts: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A row for each part of a footprint: scales are bytes of the weights that they belong to."""
    return [
        [
            f"{part['part']}, tied" if part["tied"] else str(part["part"]),
            str(part["dtype"]),
            numerals.whole(part["bytes"]),
            numerals.whole(part["parameters"]),
            numerals.plain(part["bits_per_weight"]),
        ]
        for part in parts
    ]


def card(ceiling: Ceiling) -> list[str]:
    """The whole of a ceiling in sentences, for a terminal."""
    told = [f"{name}: {text}" for name, text in pairs(ceiling)]
    return [*told, *(f"unknown: {name}: {why}" for name, why in ceiling["unknown"].items())]


def pairs(ceiling: Ceiling) -> list[tuple[str, str]]:
    """Name and text of each figure; what is not known is "n/a"."""
    host = ceiling["host"]
    context, prompt = ceiling["context_tokens"], ceiling["prompt_tokens"]
    return [
        ("weights read a step", _bytes(ceiling["weights_bytes_per_token"])),
        ("as stored", _bytes(ceiling["stored_bytes_per_token"])),
        ("cache a token of context", _bytes(ceiling["kv_bytes_per_token"])),
        ("operations a token", _giga(ceiling["flops_per_token"])),
        (
            "memory bandwidth",
            _with(numerals.plain(host["bandwidth_gb_s"]), "GB/s", _where(ceiling)),
        ),
        ("arithmetic rate", _with(numerals.plain(host["gflops"]), "GFLOP/s", host["dtype"])),
        (
            "floor of a step",
            _with(numerals.plain(ceiling["step_floor_ms"]), "ms", ceiling["bound"]),
        ),
        (
            f"ceiling of decoding, {ceiling['streams']} at once",
            _with(numerals.plain(ceiling["decode_tok_s"]), "tok/s", _tokens(context, "context")),
        ),
        (
            "ceiling of prefill, one alone",
            _with(numerals.plain(ceiling["prefill_tok_s"]), "tok/s", _tokens(prompt, "prompt")),
        ),
    ]


def _where(ceiling: Ceiling) -> str | None:
    host = ceiling["host"]
    if host["device"] is None or host["measured_utc"] is None:
        return None
    where = "the GPU" if host["device"] == "cuda" else _threads(host["threads"])
    return (
        f"{where}, at {numerals.megabytes(ceiling['working_set_bytes'])}, "
        f"measured {str(host['measured_utc'])[:10]}"
    )


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def _tokens(count: float | None, what: str) -> str | None:
    return None if count is None else f"{what} of {numerals.plain(count)} tokens"


def _bytes(value: float | None) -> str:
    return numerals.NA if value is None else f"{numerals.whole(value)} bytes"


def _giga(value: float | None) -> str:
    return numerals.NA if value is None else f"{numerals.plain(value / 1e9)} GFLOP"


def _with(number: str, unit: str, what: str | None) -> str:
    if number == numerals.NA:
        return number
    return f"{number} {unit}" + (f" ({what})" if what else "")
