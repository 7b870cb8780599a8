"""What one served variant says of each scored token, beside what the reference says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantswarm.bench.quality.corpus import Corpus
from quantswarm.bench.quality.divergence import Bounds, Cut, Ids, Wide, bounds, cut, whole
from quantswarm.bench.quality.reference import Reference
from quantswarm.models.errors import RunFailed

if TYPE_CHECKING:
    from quantswarm.models.dequantize import Floats

Told = Mapping[int, Mapping[int, float]]
"""By place in a window, the log-probability of token ids there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Arrays are [scored tokens], in the corpus' order; `nll` and `kl` in nats.

    `kl` and the tops are None without a reference that is a distribution; `cut` holds the bounds
    where only the likeliest tokens were told.
    """

    nll: Floats
    top1: Ids
    reference_top1: Ids | None = None
    kl: Wide | None = None
    cut: Bounds | None = None

    def arrays(self, reference: Reference | None) -> dict[str, Floats | Ids | Wide]:
        """What `quality/<variant>.npz` holds."""
        found: dict[str, Floats | Ids | Wide] = {"nll": self.nll, "top1": self.top1}
        if reference is not None:
            found["reference_nll"] = reference.nll
        if self.reference_top1 is not None and self.kl is not None:
            found |= {"reference_top1": self.reference_top1, "kl": self.kl}
        if self.cut is not None:
            found |= {"kl_low": self.cut.low, "kl_high": self.cut.high}
        return found


def from_rows(served: Iterable[Floats], corpus: Corpus, reference: Reference | None) -> Scores:
    """From whole distributions, [window - 1, vocabulary] a window; one window is held at a time."""
    nll, top1, reference_top1, kl = [], [], [], []
    for at, (rows, window) in enumerate(zip(served, corpus.windows, strict=True)):
        nll.append(-rows[np.arange(len(rows)), list(window[1:])])
        top1.append(rows.argmax(axis=1))
        if reference is not None and reference.rows is not None:
            own = reference.rows[at]
            _require_same_vocabulary(own, rows)
            reference_top1.append(own.argmax(axis=1))
            kl.append(whole(own, rows))
    return Scores(
        nll=np.concatenate(nll),
        top1=np.concatenate(top1),
        reference_top1=np.concatenate(reference_top1) if kl else None,
        kl=np.concatenate(kl) if kl else None,
    )


def from_told(told: Sequence[Told], corpus: Corpus, reference: Reference | None) -> Scores:
    """From the likeliest tokens and the one that came, at each place of each window."""
    nll: list[float] = []
    top1: list[int] = []
    reference_top1: list[Ids] = []
    cuts: list[Cut] = []
    for at, (places, window) in enumerate(zip(told, corpus.windows, strict=True)):
        ids, values = _ordered(places, window)
        nll += [-places[place][window[place]] for place in range(1, len(window))]
        top1 += [int(one[0]) for one in ids]
        if reference is not None and reference.rows is not None:
            reference_top1.append(reference.rows[at].argmax(axis=1))
            cuts.append(cut(reference.rows[at], ids, values))
    found = bounds(cuts) if cuts else None
    return Scores(
        nll=np.array(nll, np.float32),
        top1=np.array(top1, np.int64),
        reference_top1=np.concatenate(reference_top1) if cuts else None,
        kl=found.best if found else None,
        cut=found,
    )


def _ordered(places: Told, window: Sequence[int]) -> tuple[list[Ids], list[Wide]]:
    """At each scored place, the told ids, likeliest first, and their log-probabilities."""
    ids, values = [], []
    for place in range(1, len(window)):
        if place not in places:
            raise RunFailed(
                "log-probabilities of a window",
                f"the server told none for token {place} of {len(window)}",
                next_step="read the server's log",
            )
        pairs = sorted(places[place].items(), key=lambda pair: -pair[1])
        ids.append(np.array([token for token, _ in pairs], np.int64))
        values.append(np.array([value for _, value in pairs], np.float64))
    return ids, values


def _require_same_vocabulary(own: Floats, rows: Floats) -> None:
    if own.shape != rows.shape:
        raise RunFailed(
            "the reference beside the served distributions",
            f"a vocabulary of {own.shape[1]:,} against {rows.shape[1]:,}",
            next_step="--reference must name the model that was quantized",
        )
