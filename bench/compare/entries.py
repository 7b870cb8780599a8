"""From the cells of a summary to the runs that are compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from quantswarm.bench.compare.measure import MEASURES, Load, Run
from quantswarm.bench.judge.blocks import Blocks

MOST_FAILURES = 0.01
"""A cell that failed more often than this is neither compared nor recommended."""

Cell = Mapping[str, Any]


def run_of(cell: Cell, blocks: Blocks | None) -> Run:
    """A summary's cell, with its samples where they are at hand."""
    return Run(
        cell=cell["cell"],
        variant=variant_of(cell),
        load=load_of(cell),
        round=round_of(cell),
        values={measure.key: cell.get(measure.key) for measure in MEASURES},
        blocks=blocks,
    )


def variant_of(cell: Cell) -> str:
    """The variant's name; for runs that did not store it, engine and quantization, and the layers
    on a GPU where the cell's name tells them."""
    if cell.get("variant"):
        return str(cell["variant"])
    offload = re.search(r"-ngl_\w+", str(cell["cell"]))
    return f"{cell['engine']}-{cell['quant']}{offload[0] if offload else ''}"


def round_of(cell: Cell) -> int:
    """1 for runs made before there were rounds."""
    return int(cell.get("round") or 1)


def load_of(cell: Cell) -> Load:
    """What the cell was asked."""
    return Load(model=cell["model"], users=cell["users"], offered=offered(cell))


def load_order(cell: Cell) -> tuple[int, float, str]:
    """What separates one load from another, and puts them in order: users, then rates."""
    rate = (cell.get("arrivals") or {}).get("rate")
    return cell["users"], rate or 0.0, offered(cell)


def load_words(cell: Cell) -> str:
    """The load of any cell in words: "8 users", or the rate of an open loop."""
    users = cell["users"]
    return offered(cell) or f"{users} user{'' if users == 1 else 's'}"


def offered(cell: Cell) -> str:
    """The load of an open loop in words, "" for a closed one."""
    arrivals = cell.get("arrivals")
    if not arrivals:
        return ""
    rate = arrivals.get("rate")
    return str(arrivals["kind"]) if rate is None else f"{rate:g} req/s, {arrivals['kind']}"


def sound(cell: Cell) -> bool:
    """Whether a cell's numbers may stand beside others."""
    compared = cell.get("compared", cell["status"] == "ok")
    if not compared or cell["output_throughput"] is None:
        return False
    return bool(cell["failures"] <= MOST_FAILURES * cell["requests"])
