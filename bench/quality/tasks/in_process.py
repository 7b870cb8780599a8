"""Items scored without an endpoint: by the libraries that serve, or by the unquantized original."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quantswarm.bench.quality.tasks.item import Ids
from quantswarm.bench.quality.tasks.scoring import Tail

if TYPE_CHECKING:
    from quantswarm.engines.base import Engine
    from quantswarm.models.dequantize import Floats

Asked = Sequence[tuple[Ids, Ids]]


class ServedScorer:
    """A `Scorer` for engines whose server scores no prompts (`Engine.scores_in_process`)."""

    def __init__(self, engine: Engine, argv: Sequence[str]) -> None:
        self._engine, self._argv = engine, argv

    def tails(self, sequences: Asked) -> list[Tail]:
        """As a server started with the same command would compute them."""
        windows = [context + option for context, option in sequences]
        with tempfile.TemporaryDirectory(prefix="quantswarm-tasks-") as folder:
            rows = self._engine.scored(self._argv, windows, Path(folder) / "log")
            return [
                tail(of_one, context, option)
                for of_one, (context, option) in zip(rows, sequences, strict=True)
            ]


class OriginalScorer:
    """A `Scorer` by the float32 reference: the unquantized weights in `folder`."""

    def __init__(self, folder: Path, asked: str) -> None:
        self._folder, self._asked = folder, asked

    def tails(self, sequences: Asked) -> list[Tail]:
        """`UnsupportedPair` for an architecture that the reference does not know."""
        from quantswarm.models.reference.checkpoint import Checkpoint
        from quantswarm.models.reference.forward import Numerics, picked

        found: dict[int, Tail] = {}

        def keep(at: int, rows: Floats) -> Floats:
            found[at] = tail(rows, *sequences[at])
            return rows[:0]

        windows = [context + option for context, option in sequences]
        picked(Checkpoint(self._folder, self._asked), windows, [Numerics()], keep)
        return [found[at] for at in range(len(sequences))]


def tail(rows: Floats, context: Ids, option: Ids) -> Tail:
    """From [tokens, vocabulary] log-probabilities; row i is about the token after token i."""
    first = len(context) - 1
    own = [rows[first + at] for at in range(len(option))]
    return Tail(
        logprobs=tuple(float(row[token]) for row, token in zip(own, option, strict=True)),
        likeliest=tuple(int(row.argmax()) == token for row, token in zip(own, option, strict=True)),
    )
