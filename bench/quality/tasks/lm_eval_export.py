"""Generated items as a task of the harness's own form, so that it can be held against our scoring.

from quantswarm.bench.quality.tasks.lm_eval_export import export
export(items, folder)      # then --tasks local-code-choice --include-path FOLDER
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from quantswarm.bench.atomic import write_text
from quantswarm.bench.quality.tasks.item import CHOICE, Item
from quantswarm.models.errors import UserMistake

PREFIX = "local-"


def export(items: Sequence[Item], folder: Path) -> str:
    """Write a task file and its data beside it; the task's name. Items must be of one task."""
    tasks = {item.task for item in items}
    if len(tasks) != 1:
        raise UserMistake("export items", f"{len(tasks)} tasks at once", next_step="one a call")
    (task,) = tasks
    data = folder / f"{task}.jsonl"
    write_text(data, "".join(json.dumps(_row(item)) + "\n" for item in items))
    write_text(folder / f"{task}.yaml", json.dumps(_task(task, data), indent=1))
    return f"{PREFIX}{task}"


def _row(item: Item) -> dict[str, object]:
    texts = [option.text for option in item.options]
    return {
        "id": item.id,
        "context": item.context.text,
        "options": texts,
        "answer": item.answer,
        "expected": texts[item.answer],
    }


def _task(task: str, data: Path) -> dict[str, object]:
    """JSON is YAML. The delimiter is empty: options begin with what stands in the text."""
    metrics = ("acc", "acc_norm") if task == CHOICE else ("acc",)
    form = (
        {"output_type": "multiple_choice", "doc_to_choice": "options", "doc_to_target": "answer"}
        if task == CHOICE
        else {"output_type": "loglikelihood", "doc_to_target": "expected"}
    )
    return {
        "task": f"{PREFIX}{task}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "doc_to_text": "context",
        "target_delimiter": "",
        **form,
        "metric_list": [
            {"metric": one, "aggregation": "mean", "higher_is_better": True} for one in metrics
        ],
        "metadata": {"version": 1.0},
    }
