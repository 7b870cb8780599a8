"""Quality as a step of a run: each variant once, on the server that its load was measured on.

It comes after the last load of a variant, so that it never falls into a window. What goes wrong
here is a named remark in the variant's document; the cells that were measured stand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantswarm.bench.matrix import Matrix, Variant
from quantswarm.bench.quality import kept
from quantswarm.bench.quality.corpus import text_name
from quantswarm.bench.quality.document import document
from quantswarm.bench.quality.run import Subject, identity, measure
from quantswarm.bench.quality.warned import quality_failed
from quantswarm.bench.quality.ways import can
from quantswarm.bench.selection import Selection
from quantswarm.bench.verify.asking import Asked as Endpoint
from quantswarm.engines.prepare import Prepared
from quantswarm.engines.registry import engine_named
from quantswarm.engines.server import Server
from quantswarm.models.errors import QuantswarmError

Say = Callable[[str], None]
FAILURES = (QuantswarmError, OSError, ValueError, ArithmeticError, LookupError, MemoryError)
"""What may go wrong with a measurement; an interrupt is none of them."""


def subject_of(
    chosen: Selection,
    prepared: Prepared,
    server: Server,
    *,
    model: str,
    variant: str | None = None,
) -> Subject:
    """The subject for a server that we started."""
    log = server.log.read_text(encoding="utf-8", errors="replace")
    return Subject(
        engine=chosen.engine,
        quant=chosen.quant,
        model=model,
        variant=variant or f"{chosen.engine.name}-{chosen.quant}",
        artefact=chosen.artefact,
        endpoint=Endpoint(
            base_url=server.base_url,
            served_name=server.served_name,
            dialect=str(chosen.engine.logprobs_by),
            api_key_file=prepared.spec.api_key_file,
        ),
        argv=server.command.argv,
        kernels=chosen.engine.kernels(log),
    )


def is_wanted(run: Path, matrix: Matrix, variant: Variant) -> bool:
    """Whether the variant's quality is asked for and not there yet, as it is asked for. What
    failed is tried again, unless the engine never can."""
    asked = matrix.quality
    if asked is None:
        return False
    found = kept.read(run, _name(matrix, variant))
    if found is None:
        return True
    if found.get("perplexity") is None:
        return can(engine_named(variant.engine))
    corpus: dict[str, Any] = found.get("corpus") or {}
    return (corpus.get("asked_tokens"), corpus.get("name")) != (
        asked.tokens,
        text_name(variant.model, asked.text),
    )


def keep(run: Path, matrix: Matrix, variant: Variant, subject: Subject, say: Say) -> None:
    """Measure and write; a failure is written too, and said."""
    assert matrix.quality is not None, "asked only where quality is wanted"
    say(f"{variant.name}: measuring quality")
    name = _name(matrix, variant)
    try:
        measured = measure(subject, matrix.quality, lambda _text: None)
        kept.write(run, name, measured.document, measured.arrays)
        say(f"{variant.name}: {_told(measured.document)}")
    except FAILURES as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        failed = document(identity(subject), {}, None, [quality_failed(why)])
        kept.write(run, name, failed, {})
        say(f"{variant.name}: quality was not measured\n{error}")


def _name(matrix: Matrix, variant: Variant) -> str:
    return kept.stem(variant.name, variant.model, matrix.model)


def _told(found: dict[str, Any]) -> str:
    """For the person watching."""
    from quantswarm.bench.report.quality import change

    return f"perplexity {found['perplexity']:.3f}, Δ {change(found)}, {found['seconds']:.1f} s"
