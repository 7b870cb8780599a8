"""Tasks beside the other measures of quality: asked of the same server, paired with a reference."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from quantswarm.bench.quality.tasks.document import Document, Rights, against, bare, store, stored
from quantswarm.bench.quality.tasks.generate import GENERATED
from quantswarm.bench.quality.tasks.run import EVERY, More, run_tasks
from quantswarm.bench.quality.ways import IN_PROCESS, way_of
from quantswarm.models.errors import UserMistake

if TYPE_CHECKING:
    from quantswarm.bench.quality.run import Subject

HEADER = ("task", "items", "accuracy", "beside the reference")
ORIGINAL = "original"
Say = Callable[[str], None]


def tasks_beside(arguments: argparse.Namespace, subject: Subject, say: Say) -> list[Document]:
    """A document for each of `--tasks`, paired with `--versus`; their items go to `--answers`.

    `UserMistake` without a tokenizer, or where no original is known to pair with.
    """
    if not arguments.tasks:
        return []
    reference = _reference(arguments)
    tokenizer = subject.artefact.tokenizer if subject.artefact else None
    if tokenizer is None:
        raise UserMistake(
            f"tasks of {subject.model}",
            "it comes without a tokenizer.json",
            next_step="leave --tasks out, or serve a model that has one",
        )
    found = run_tasks(
        arguments.tasks,
        subject.endpoint,
        tokenizer,
        items=arguments.items,
        say=say,
        more=_more(arguments, subject),
    )
    if arguments.versus == ORIGINAL:
        reference = _original(arguments, subject, tokenizer, say)
    if reference is not None:
        found = against(found, reference, str(arguments.versus))
    if arguments.answers is not None:
        return store(arguments.answers, found)
    return [bare(one) for one in found]


def _reference(arguments: argparse.Namespace) -> Rights | None:
    """Read before anything is asked of the server."""
    if arguments.versus in (None, ORIGINAL):
        return None
    return stored(Path(arguments.versus))


def _more(arguments: argparse.Namespace, subject: Subject) -> More:
    from quantswarm.bench.quality.tasks.in_process import ServedScorer

    scorer = None
    if way_of(subject.engine) == IN_PROCESS and subject.argv is not None:
        scorer = ServedScorer(subject.engine, subject.argv)
    return More(text=arguments.text, include=arguments.include_path, scorer=scorer)


def _original(arguments: argparse.Namespace, subject: Subject, tokenizer: Path, say: Say) -> Rights:
    """The unquantized model's answers, in float32; only tasks that are made here can be paired."""
    from quantswarm.bench.quality.tasks.in_process import OriginalScorer
    from quantswarm.models.source import resolve

    source = resolve(arguments.reference or subject.model, quant=subject.quant)
    foreign = [name for name in arguments.tasks if name not in (*GENERATED, EVERY)]
    if source.folder is None or source.quantized is not None or foreign:
        raise UserMistake(
            f"--versus {ORIGINAL}",
            f"{', '.join(foreign)} cannot be scored without a server"
            if foreign
            else f"the unquantized weights of {source.name} are not known",
            next_step="measure the baseline with --answers FILE, then give --versus FILE",
        )
    say("scoring the unquantized original")
    asked = run_tasks(
        arguments.tasks,
        subject.endpoint,
        tokenizer,
        items=arguments.items,
        say=lambda _text: None,
        more=More(
            text=arguments.text,
            scorer=OriginalScorer(source.folder, f"reference of {source.name}"),
        ),
    )
    return {one["task"]: {row["id"]: row["right"] for row in one["records"]} for one in asked}


def rows(found: list[Document]) -> list[tuple[str, str, str, str]]:
    """A line a task for people: name, items, accuracy with its interval, what may be said."""
    unpaired = "not paired: --versus original, or the answers of a baseline"
    return [
        (one["task"], f"{one['items']:,}", _accuracy(one), one["finding"] or unpaired)
        for one in found
    ]


def _accuracy(one: Document) -> str:
    low, high = one["accuracy_interval"] or (0.0, 1.0)
    return f"{one['accuracy']:.1%} ({low:.1%} to {high:.1%})"
