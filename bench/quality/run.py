"""One measurement of quality: the corpus, the reference, the served distributions, the numbers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantswarm.bench.quality import agreement, served, warned
from quantswarm.bench.quality.asked import Asked
from quantswarm.bench.quality.corpus import Corpus, corpus_of, text_for
from quantswarm.bench.quality.document import document, numbers
from quantswarm.bench.quality.reference import Reference, reference_of, table_of
from quantswarm.bench.quality.scores import Scores, from_rows, from_told
from quantswarm.bench.quality.ways import IN_PROCESS, way_of
from quantswarm.bench.selection import NO_QUANT
from quantswarm.models.errors import BadFile, UnsupportedPair, UserMistake

if TYPE_CHECKING:
    from quantswarm.bench.verify.asking import Asked as Endpoint
    from quantswarm.engines.base import Engine
    from quantswarm.models.artefact import Artefact, ModelSource

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A served variant; `model` is the name that it was asked for by. `argv` is its server's
    command, None where it was not started here; `kernels` are those that its log names, None
    without a log."""

    engine: Engine
    quant: str
    model: str
    variant: str
    artefact: Artefact | None
    endpoint: Endpoint
    argv: Sequence[str] | None = None
    kernels: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The document, and the arrays per token in order."""

    document: dict[str, Any]
    arrays: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What all variants of a model share; `missing` says why there is no reference."""

    corpus: Corpus
    reference: Reference | None
    missing: str | None = None


def ready_for(subject: Subject, asked: Asked, say: Say) -> Ready:
    """The corpus in the reference's tokens, and the reference."""
    text = text_for(subject.model, asked.text)
    if subject.artefact is None:
        corpus = corpus_of(text, None, asked)
        return Ready(corpus=corpus, reference=table_of(corpus))
    source, missing = _original(subject, asked)
    tokenizer = source.tokenizer if source else subject.artefact.tokenizer
    if tokenizer is None:
        raise UserMistake(
            f"quality of {subject.model}",
            "it comes without a tokenizer.json",
            next_step="name the model that it was made from with --reference",
        )
    corpus = corpus_of(text, tokenizer, asked)
    if source is None:
        return Ready(corpus=corpus, reference=None, missing=missing)
    try:
        return Ready(corpus=corpus, reference=reference_of(source, corpus, say))
    except UnsupportedPair as error:
        return Ready(corpus=corpus, reference=None, missing=error.found)


def _original(subject: Subject, asked: Asked) -> tuple[ModelSource | None, str | None]:
    """The unquantized model, or why there is none."""
    from quantswarm.models.source import resolve

    source = resolve(asked.reference or subject.model, quant=subject.quant)
    why = None
    if source.folder is None:
        why = f"{source.name} is a GGUF file alone"
    elif source.quantized is not None:
        why = f"the weights of {source.name} come quantized"
    if why is not None and asked.reference is not None:
        raise BadFile(f"--reference {asked.reference}", why, next_step="name the original model")
    return (None if why else source), why


def measure(subject: Subject, asked: Asked, say: Say) -> Measured:
    """All of it for a server that is ready and idle. `UserMistake` for an engine that cannot."""
    way = way_of(subject.engine)
    begun = time.monotonic()
    ready = ready_for(subject, asked, say)
    say(f"scoring {ready.corpus.scored:,} tokens of {ready.corpus.text.name}")
    if way == IN_PROCESS:
        scores, facts, remarks = _in_process(subject, ready)
    else:
        told = served.told_by(subject.endpoint, ready.corpus, subject.engine.most_logprobs)
        scores = from_told(told, ready.corpus, ready.reference)
        facts, remarks = {"kernels": subject.kernels and list(subject.kernels)}, []
    remarks = [*_remarks(subject, ready), *remarks]
    return Measured(
        document=document(
            identity(subject),
            {
                **numbers(scores, ready.corpus, ready.reference),
                "seconds": time.monotonic() - begun,
            },
            ready.corpus.document(),
            remarks,
            path=way,
            **facts,
        ),
        arrays=scores.arrays(ready.reference),
    )


def identity(subject: Subject) -> dict[str, str]:
    """What was measured, in the names that the cells of a run have."""
    return {
        "engine": subject.engine.name,
        "quant": subject.quant,
        "model": subject.artefact.model if subject.artefact else NO_QUANT,
        "variant": subject.variant,
    }


def _in_process(
    subject: Subject, ready: Ready
) -> tuple[Scores, dict[str, Any], list[warned.Warned]]:
    """By the engine's own libraries with the server's settings; then some places beside what the
    server itself says."""
    assert subject.argv is not None, "a server that was not started here is refused"
    windows = ready.corpus.windows
    with tempfile.TemporaryDirectory(prefix="quantswarm-quality-") as folder:
        log = Path(folder) / "log"
        watched = served.Watched(subject.engine.scored(subject.argv, windows, log), windows)
        scores = from_rows(watched, ready.corpus, ready.reference)
        kernels = subject.engine.kernels(log.read_text(encoding="utf-8", errors="replace"))
    apart = watched.apart(subject.endpoint)
    facts = {"kernels": list(kernels), "served_difference": apart}
    return scores, facts, served.remarks(apart, kernels, subject.kernels)


def _remarks(subject: Subject, ready: Ready) -> list[warned.Warned]:
    found = []
    artefact = subject.artefact
    if artefact is not None:
        if artefact.random_weights:
            found.append(warned.random_weights(subject.model))
        found += agreement.remarks(artefact, ready.corpus.encoded)
    if ready.missing is not None:
        found.append(warned.no_reference(ready.missing))
    if ready.corpus.scored < warned.FEW_TOKENS:
        found.append(warned.few_tokens(ready.corpus.scored))
    return found
