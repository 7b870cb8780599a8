"""The unquantized reference: NumPy's float32 forward pass, kept sealed for every later variant."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantswarm.bench.quality.corpus import Corpus
from quantswarm.models.sealed import Contents, sealed_folder
from quantswarm.models.space import require_disk
from quantswarm.models.store import home

if TYPE_CHECKING:
    from quantswarm.models.artefact import ModelSource
    from quantswarm.models.dequantize import Floats

LABEL = "the unquantized original, computed in float32"
TABLE = "the table of the scripted server"
_LAYOUT = 1
_ROWS = "rows.f32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`rows` [windows, window - 1, vocabulary] are log-probabilities; None where only `nll`, that
    of each scored token, is known."""

    label: str
    nll: Floats
    rows: Floats | None = None


def reference_of(source: ModelSource, corpus: Corpus, say: Callable[[str], None]) -> Reference:
    """Computed once for a model and a corpus, then found under `QUANTSWARM_HOME/quality`.

    `UnsupportedPair` for an architecture that the forward pass does not know, `NoSpace` where its
    rows do not fit the disk.
    """
    assert source.folder is not None, "the caller refuses models without a folder"
    folder = source.folder

    def build(aside: Path) -> Contents:
        say(f"computing the float32 reference of {corpus.scored:,} tokens")
        shape = _compute(folder, corpus, aside / _ROWS, f"reference of {source.name}")
        return Contents(facts={"shape": shape})

    target = home() / "quality" / f"{_safe(source.name)}-{_key(source, corpus)}"
    seal = sealed_folder(target, asked=f"quality reference of {source.name}", build=build)
    shape = tuple(seal.facts["shape"])
    rows: Floats = np.memmap(seal.root / _ROWS, dtype=np.float32, mode="r", shape=shape)
    return Reference(label=LABEL, nll=nll_of(rows, corpus), rows=rows)


def table_of(corpus: Corpus) -> Reference:
    """What the scripted server will say of each token: a table, not a distribution, so no rows."""
    from quantswarm.engines.scripted.vocabulary import logprob

    values = [-logprob(token) for window in corpus.windows for token in window[1:]]
    return Reference(label=TABLE, nll=np.array(values, np.float32))


def nll_of(rows: Floats, corpus: Corpus) -> Floats:
    """Negative log-likelihood of each scored token, in order, in nats."""
    return np.concatenate(
        [
            -part[np.arange(len(window) - 1), list(window[1:])]
            for part, window in zip(rows, corpus.windows, strict=True)
        ]
    )


def _compute(folder: Path, corpus: Corpus, path: Path, asked: str) -> tuple[int, ...]:
    """Window by window onto the disk: the rows of a large vocabulary would not fit into memory."""
    from quantswarm.models.reference.checkpoint import Checkpoint
    from quantswarm.models.reference.forward import Numerics, picked

    weights = Checkpoint(folder, asked)
    length = len(corpus.windows[0])
    shape = (len(corpus.windows), length - 1, weights.shape.vocabulary)
    require_disk(path.parent, 4 * int(np.prod(shape)), asked)
    kept = np.memmap(path, dtype=np.float32, mode="w+", shape=shape)

    def keep(at: int, rows: Floats) -> Floats:
        kept[at] = rows[:-1]
        return rows[:0]

    picked(weights, corpus.windows, [Numerics()], keep)
    kept.flush()
    return shape


def _key(source: ModelSource, corpus: Corpus) -> str:
    text = f"{_LAYOUT}/{source.fingerprint}/{corpus.digest}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "_" for c in name)
