"""A task's result: the JSON of it, its items in a file of their own, and the pairing of two."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quantswarm.bench.atomic import write_text
from quantswarm.bench.judge.proportion import wilson
from quantswarm.bench.quality.tasks.item import Outcome
from quantswarm.bench.quality.tasks.paired_items import paired
from quantswarm.models.errors import BadFile, UserMistake

GENERATED, LM_EVAL = "generated", "lm-eval"
RECORDS = "records"
Document = dict[str, Any]
Rights = Mapping[str, Mapping[str, bool]]
"""Task → item id → right."""


def document(task: str, kind: str, found: Sequence[Outcome], **more: Any) -> Document:
    """Without a reference; `records` are the items, which `store` takes out into their file."""
    if not found:
        raise UserMistake(f"task {task}", "it has no items", next_step="more --items")
    right = sum(one.right for one in found)
    by_length = [one.right_by_length for one in found if one.right_by_length is not None]
    interval = wilson(right, len(found))
    return {
        "task": task,
        "kind": kind,
        "items": len(found),
        "accuracy": right / len(found),
        "accuracy_interval": None if interval is None else list(interval),
        "accuracy_by_length": sum(by_length) / len(by_length) if by_length else None,
        **more,
        **dict.fromkeys(_PAIRED),
        RECORDS: [asdict(one) for one in found],
    }


_PAIRED = (
    *("versus", "worse", "better", "difference", "difference_interval", "p_value"),
    *("smallest_detectable", "finding"),
)


def against(documents: Iterable[Document], reference: Rights, versus: str) -> list[Document]:
    """The documents, each paired with the reference's answers to the same items.

    `versus` names the reference. `UserMistake` where it did not answer the same items.
    """
    return [_against(one, reference, versus) for one in documents]


def _against(one: Document, reference: Rights, versus: str) -> Document:
    variant = {row["id"]: row["right"] for row in one[RECORDS]}
    pair = paired(variant, reference.get(one["task"], {}))
    return {
        **one,
        "versus": versus,
        "worse": pair.worse,
        "better": pair.better,
        "difference": pair.difference,
        "difference_interval": list(pair.interval),
        "p_value": pair.p_value,
        "smallest_detectable": pair.smallest_detectable,
        "finding": pair.sentence(),
    }


def store(path: Path, documents: Iterable[Document]) -> list[Document]:
    """Write `path` (`<variant>-tasks.jsonl`, a line an item) and return the documents without
    their items."""
    lines = [
        json.dumps({"task": one["task"], **row}) + "\n" for one in documents for row in one[RECORDS]
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(lines))
    return [bare(one) for one in documents]


def bare(one: Document) -> Document:
    """Without its items."""
    return {key: value for key, value in one.items() if key != RECORDS}


def stored(path: Path) -> dict[str, dict[str, bool]]:
    """What `store` wrote, for `against`; `BadFile` where it is missing or broken."""
    found: dict[str, dict[str, bool]] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found.setdefault(row["task"], {})[row["id"]] = bool(row["right"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadFile(
            f"answers of the reference, {path}",
            f"cannot be read ({error!r})",
            next_step="measure the reference again, with the same --tasks",
        ) from error
    return found
