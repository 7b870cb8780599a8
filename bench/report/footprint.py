"""What each variant takes, on disk, in memory and in time to start; and what it consists of."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantswarm.bench.compare.entries import variant_of
from quantswarm.bench.judge.answer import unquantized
from quantswarm.bench.report import numerals
from quantswarm.bench.report.compared import Table

TOLD = (
    "Disk is the files that hold weights. Memory is resident (RSS), summed over the server's "
    "processes: after load, before any load but the one token that proves the server ready, and at "
    "its highest while cells were measured. First ready is the health path's first 200, load the "
    "first generated token, both from the process's start."
)
PARTS: Mapping[str, str] = {
    "linear": "linear layers",
    "embeddings": "embeddings",
    "lm_head": "LM head",
    "norms": "norms",
    "other": "other",
}
"""Part → what readers call it, in the order of tables and bars."""
MUCH = 0.1
"""Share of the bytes from which on parts that stay as they are deserve a sentence."""

Cell = Mapping[str, Any]
_MEDIANS = ("memory_after_load_bytes", "gpu_after_load_bytes", "first_ready_s", "load_s")
_LARGEST = ("memory_peak_bytes", "gpu_peak_bytes", "weights_disk_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A variant of a model: peaks are the largest of its cells, the rest medians. `parts` are what
    its quantization makes: on disk, or, with `at_load`, in memory."""

    name: str
    model: str
    quant: str
    values: Mapping[str, float | None]
    parts: Sequence[Mapping[str, Any]]
    at_load: bool = False

    @property
    def title(self) -> str:
        """Above its parts, which are those of the disk unless it is quantized while it loads."""
        return f"{self.name}, as loaded" if self.at_load else self.name

    @property
    def memory_bytes(self) -> float | None:
        """After load: on the GPUs where the system tells, else of the processes."""
        on_gpus = self.values["gpu_after_load_bytes"]
        return self.values["memory_after_load_bytes"] if on_gpus is None else on_gpus


def taken(summary: Mapping[str, Any]) -> list[Taken]:
    """Every variant that has a footprint, in the order of the cells; none in older runs."""
    variants: dict[tuple[str, str], list[Cell]] = {}
    for cell in summary["cells"]:
        if cell.get("footprint"):
            variants.setdefault((str(cell["model"]), variant_of(cell)), []).append(cell)
    return [_taken(model, name, cells) for (model, name), cells in variants.items()]


def tables(summary: Mapping[str, Any]) -> list[Table]:
    """Two for each model: what a variant takes, and its size by component where that is known."""
    found = taken(summary)
    models = list(dict.fromkeys(one.model for one in found))
    return [
        table
        for model in models
        for table in _of_model(
            [one for one in found if one.model == model],
            f" of {model}" if len(models) > 1 else "",
        )
    ]


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """Why a quantization shrank its model by less than its bits say; one of a variant at most."""
    found = taken(summary)
    several = len({one.model for one in found}) > 1
    return [
        f"{one.title}{f' of {one.model}' if several else ''}: {text}"
        for one in found
        if (text := _kept(one) or _not_on_disk(one))
    ]


def _taken(model: str, name: str, cells: Sequence[Cell]) -> Taken:
    found = [cell["footprint"] for cell in cells]
    loaded = next((one["loaded_parts"] for one in found if one.get("loaded_parts")), None)
    on_disk = next((one["weight_parts"] for one in found if one.get("weight_parts")), ())
    return Taken(
        name=name,
        model=model,
        quant=str(cells[0]["quant"]),
        values={
            **{key: _over(statistics.median, found, key) for key in _MEDIANS},
            **{key: _over(max, found, key) for key in _LARGEST},
            "bits_per_weight": _bits(loaded or on_disk),
        },
        parts=loaded or on_disk,
        at_load=loaded is not None,
    )


def _bits(parts: Sequence[Mapping[str, Any]]) -> float | None:
    weights = _sum(parts, "parameters")
    return 8 * _sum(parts, "bytes") / weights if weights else None


def _over(
    pool: Callable[[list[float]], float], found: Sequence[Mapping[str, Any]], key: str
) -> float | None:
    known = [one[key] for one in found if one.get(key) is not None]
    return pool(known) if known else None


def _of_model(found: Sequence[Taken], of: str) -> Iterator[Table]:
    on_gpu = any(one.values["gpu_after_load_bytes"] is not None for one in found)
    gpu_keys = ("gpu_after_load_bytes", "gpu_peak_bytes") if on_gpu else ()
    gpu_head = ("GPU after load", "GPU peak") if on_gpu else ()
    sizes = ("weights_disk_bytes", "memory_after_load_bytes", "memory_peak_bytes", *gpu_keys)
    yield Table(
        title=f"What each variant takes{of}",
        head=(
            *("variant", "on disk", "after load", "peak"),
            *gpu_head,
            *("bits a weight", "first ready", "load"),
        ),
        numeric=(False, *(True for _ in sizes), True, True, True),
        rows=[
            [
                one.name,
                *(numerals.megabytes(one.values[key]) for key in sizes),
                numerals.plain(one.values["bits_per_weight"]),
                numerals.seconds(one.values["first_ready_s"]),
                numerals.seconds(one.values["load_s"]),
            ]
            for one in found
        ],
    )
    if rows := [[one.title, *_by_part(one)] for one in found if one.parts]:
        yield Table(
            title=f"Size by component{of}, with the bits of a weight",
            head=("variant", *PARTS.values()),
            numeric=(False, *(False for _ in PARTS)),
            rows=rows,
        )


def _by_part(one: Taken) -> Iterator[str]:
    tied = any(part.get("tied") for part in one.parts)
    for name in PARTS:
        mine = [part for part in one.parts if part["part"] == name]
        if name == "lm_head" and not mine and tied:
            yield "the embeddings (tied)"
        else:
            yield " + ".join(_part(part) for part in mine) or "none"


def _part(part: Mapping[str, Any]) -> str:
    bits = part["bits_per_weight"]
    told = f"{numerals.megabytes(part['bytes'])} {part['dtype']}"
    return told if bits is None else f"{told} ({numerals.plain(bits)})"


def _kept(one: Taken) -> str:
    """Where the linear layers are quantized, and much of the rest is not."""
    linear = [part for part in one.parts if part["part"] == "linear" and not part["plain"]]
    kept = [
        part for part in one.parts if part["part"] in ("embeddings", "lm_head") and part["plain"]
    ]
    total, kept_bytes = _sum(one.parts, "bytes"), _sum(kept, "bytes")
    if not linear or not kept_bytes or kept_bytes < MUCH * total:
        return ""
    plain = max(kept, key=lambda part: part["bytes"])
    whole = total * 8 / (_sum(one.parts, "parameters") * plain["bits_per_weight"])
    layers = _sum(linear, "bytes") * 8 / (_sum(linear, "parameters") * plain["bits_per_weight"])
    return (
        f"of {numerals.megabytes(total)}, {numerals.megabytes(kept_bytes)} "
        f"({numerals.share(kept_bytes / total)}) are {_names(kept)} in {plain['dtype']} that "
        f"{one.quant} leaves as they are. Its linear layers take {numerals.share(layers)} of what "
        f"they would in {plain['dtype']}, all weights together {numerals.share(whole)}."
    )


def _not_on_disk(one: Taken) -> str:
    """Where a quantization is named, and what lies on the disk is none."""
    named = not unquantized(one.quant.removesuffix("-gguf"))
    if not one.parts or not named or not all(part["plain"] for part in one.parts):
        return ""
    kinds = ", ".join(dict.fromkeys(str(part["dtype"]) for part in one.parts))
    return (
        f"its weights lie on disk in {kinds}: what {one.quant} changes is done when they are "
        "loaded, or is not the weights."
    )


def _names(kept: Sequence[Mapping[str, Any]]) -> str:
    names = [PARTS[name] for name in PARTS if any(part["part"] == name for part in kept)]
    if any(part.get("tied") for part in kept):
        return "embeddings, which are the LM head too,"
    return " and ".join(names)


def _sum(parts: Sequence[Mapping[str, Any]], key: str) -> float:
    return float(sum(part[key] for part in parts))
