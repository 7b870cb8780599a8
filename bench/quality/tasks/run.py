"""Runs tasks by name against a served model: those made here, and those of the harness."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantswarm.bench import quantity

if TYPE_CHECKING:
    from quantswarm.bench.quality.tasks.document import Document
    from quantswarm.bench.quality.tasks.scoring import Scorer
    from quantswarm.bench.verify.asking import Asked

ITEMS = 500
EVERY = "generated"
"""Stands for all that are made here."""
Say = Callable[[str], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which tasks, and how many items of each."""
    group = parser.add_argument_group("tasks")
    group.add_argument(
        "--tasks",
        type=names_in,
        default=(),
        metavar="NAMES",
        help="code-completion, code-choice (made from held-out text, no download), generated "
        "(both), or tasks of lm-evaluation-harness, comma-separated",
    )
    group.add_argument(
        "--items",
        type=quantity.count("--items", ITEMS),
        default=ITEMS,
        metavar="N",
        help=f"items of each task, at most (default: {ITEMS})",
    )
    group.add_argument(
        "--versus",
        metavar="original|FILE",
        help="pair items with the unquantized original, or with a baseline's --answers",
    )
    group.add_argument("--answers", type=Path, metavar="FILE", help="write a line an item here")
    group.add_argument(
        "--include-path", type=Path, metavar="DIR", help="folder of your own harness task files"
    )


def names_in(text: str) -> tuple[str, ...]:
    """`a,b` as names, each once, in order."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """`text` is what generated items are made of (None: the package's held-out text), `include` a
    folder of the user's own task files. `scorer` takes the server's place where log-probabilities
    come from elsewhere. `positions` is the longest sequence that is served (None: 2,048)."""

    text: Path | None = None
    include: Path | None = None
    scorer: Scorer | None = None
    positions: int | None = None


NO_MORE = More()


def run_tasks(
    names: Sequence[str],
    asked: Asked,
    tokenizer: Path,
    *,
    items: int = ITEMS,
    seed: int = 0,
    say: Say,
    more: More = NO_MORE,
) -> list[Document]:
    """A document for each task, without a reference yet, its items in `records`.

    What this server cannot be asked is refused (`UnsupportedPair`) before anything is asked.
    Then `document.against` pairs them with a reference's answers to the same items, and
    `document.store` puts the items into a file of their own.
    """
    from quantswarm.bench.quality.tasks import lm_eval_run

    own, others = _parted(names)
    if more.scorer is None:
        _refuse_unscored(own, asked)
    how = lm_eval_run.Harness(
        tokenizer=tokenizer,
        items=items,
        seed=seed,
        include=more.include,
        positions=more.positions or lm_eval_run.POSITIONS,
    )
    ready = lm_eval_run.ready(others, asked, how, say) if others else None
    drawing = Drawing(tokenizer=tokenizer, text=more.text, items=items, seed=seed)
    found = _own(own, asked, drawing, more.scorer, say)
    return found + (lm_eval_run.documents(ready, asked, how, say) if ready else [])


def _refuse_unscored(names: Sequence[str], asked: Asked) -> None:
    from quantswarm.bench.quality.tasks.endpoint import refuse_unscored

    for name in names:
        refuse_unscored(name, asked)


def _parted(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those made here, and those of the harness."""
    from quantswarm.bench.quality.tasks.generate import GENERATED

    wide = [one for name in names for one in (GENERATED if name == EVERY else (name,))]
    unique = list(dict.fromkeys(wide))
    return [one for one in unique if one in GENERATED], [
        one for one in unique if one not in GENERATED
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What generated items are made of, and how many."""

    tokenizer: Path
    text: Path | None
    items: int
    seed: int


def _own(
    names: Sequence[str], asked: Asked, drawing: Drawing, scorer: Scorer | None, say: Say
) -> list[Document]:
    """The tasks made here."""
    from quantswarm.bench.quality.tasks.document import GENERATED, document
    from quantswarm.bench.quality.tasks.endpoint import outcomes_at
    from quantswarm.bench.quality.tasks.generate import generated
    from quantswarm.bench.quality.tasks.passages import passages

    if not names:
        return []
    source = passages(drawing.tokenizer, drawing.text)
    found = []
    for name in names:
        made = generated(name, source, drawing.items, drawing.seed)
        say(f"{name}: asking {len(made)} items")
        told = outcomes_at(made, asked, scorer)
        found.append(document(name, GENERATED, told, seed=drawing.seed))
    return found
