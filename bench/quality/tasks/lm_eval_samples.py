"""What the harness left: its per-sample log, read into right or wrong by item."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from quantswarm.bench.quality.tasks.item import Outcome
from quantswarm.bench.quality.tasks.scoring import margin_of
from quantswarm.models.errors import RunFailed

RIGHT = ("acc", "exact_match", "pass@1", "em")
"""Metrics that are 1 or 0 for an item, first choice first."""
BY_LENGTH = "acc_norm"
NO_FILTER = "none"
_HASHES = ("doc_hash", "prompt_hash", "target_hash")
"""Of the document, the prompt with its examples, and the answer: other ones, another item."""
Sample = Mapping[str, Any]


def results_in(folder: Path) -> tuple[dict[str, Any], dict[str, list[Outcome]]]:
    """The harness's own results file, and the outcomes of each task.

    A task whose answers are filtered in several ways is one task a filter: `gsm8k:strict-match`.
    `RunFailed` where files are missing, or a task has no metric that is right or wrong by item.
    """
    (path,) = _only(folder, "results_*.json")
    results = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, list[Outcome]] = {}
    for log in _only(folder, "samples_*.jsonl", several=True):
        # samples_NAME_2026-11-21T10-00-00.000000.jsonl
        name = log.stem.removeprefix("samples_").rpartition("_")[0]
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        found |= by_filter(name, lines)
    return results, found


def _only(folder: Path, pattern: str, *, several: bool = False) -> list[Path]:
    paths = sorted(folder.rglob(pattern))
    if not paths or (len(paths) > 1 and not several):
        raise RunFailed(
            "read the harness's results",
            f"{len(paths)} files {pattern} in {folder}",
            next_step="read the log in that folder",
        )
    return paths


def by_filter(name: str, samples: Iterable[Sample]) -> dict[str, list[Outcome]]:
    """Outcomes by task name, one for each filter."""
    parts: dict[str, list[Sample]] = {}
    for sample in samples:
        kind = str(sample.get("filter", NO_FILTER))
        parts.setdefault(name if kind == NO_FILTER else f"{name}:{kind}", []).append(sample)
    return {task: _outcomes(task, some) for task, some in parts.items()}


def _outcomes(task: str, samples: list[Sample]) -> list[Outcome]:
    metric = _metric(task, samples)
    return [
        Outcome(
            id="-".join((str(sample["doc_id"]), *(str(sample[one])[:8] for one in _HASHES))),
            right=bool(sample[metric]),
            score=_margin(sample),
            right_by_length=bool(sample[BY_LENGTH]) if BY_LENGTH in sample else None,
        )
        for sample in sorted(samples, key=lambda one: int(one["doc_id"]))
    ]


def _metric(task: str, samples: list[Sample]) -> str:
    every = list(map(str, samples[0].get("metrics", ())))
    told = [name for name in every if _is_binary(name, samples)]
    for name in (*RIGHT, *told):
        if name in told:
            return name
    raise RunFailed(
        f"task {task}",
        "none of its metrics is right or wrong for each item",
        evidence=f"It has {', '.join(every) or 'none'}.",
        next_step="choose tasks of accuracy or exact match; perplexity is measured without tasks",
    )


def _is_binary(name: str, samples: list[Sample]) -> bool:
    return all(isinstance(one.get(name), int | float) and one[name] in (0, 1) for one in samples)


def _margin(sample: Sample) -> float | None:
    """As for our own choices, where the sample is one: log-probabilities and the right place."""
    told, answer = sample.get("filtered_resps"), str(sample.get("target"))
    if not isinstance(told, list) or len(told) < 2 or not answer.isdigit():
        return None
    try:
        scores = [float(logprob) for logprob, _ in told]
    except (TypeError, ValueError):
        return None
    return margin_of(scores, int(answer)) if int(answer) < len(scores) else None
