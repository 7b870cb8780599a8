"""One verification: ask the server, compute the references, compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from quantswarm.bench.selection import Selection
from quantswarm.bench.verify import references
from quantswarm.bench.verify.answers import Answer
from quantswarm.bench.verify.asking import Asked, answers
from quantswarm.bench.verify.distance import Distance, Places, between, of, places
from quantswarm.bench.verify.plan import Plan, drawn
from quantswarm.bench.verify.references import NOISE, ORIGINAL, VARIANT, Scored
from quantswarm.bench.verify.result import Result, Server
from quantswarm.bench.verify.verdict import Row, remarks, tolerance, verdict
from quantswarm.engines.base import Precision
from quantswarm.models.errors import UserMistake

if TYPE_CHECKING:
    from quantswarm.models.artefact import Artefact, ModelSource
    from quantswarm.models.dequantize import Floats

SCRIPTED_VOCABULARY = 4096
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is verified. `source` is the model before any recipe; both None without weights."""

    engine: str
    quant: str
    model: str
    artefact: Artefact | None
    source: ModelSource | None


def dialect_of(selection: Selection) -> str:
    """How the engine tells log-probabilities; `UserMistake` where it does not."""
    dialect = selection.engine.logprobs_by
    if dialect is None:
        from quantswarm.engines.registry import engines

        able = [one.name for one in engines().values() if one.logprobs_by]
        raise UserMistake(
            f"verify {selection.engine.name}",
            "its server tells no log-probabilities that can be trusted",
            evidence=f"Engines that do: {', '.join(able)}.",
            next_step="verify the same weights through one of them",
        )
    return dialect


def subject_of(selection: Selection, model: str) -> Subject:
    """The selection, and where its weights came from."""
    from quantswarm.models.source import resolve

    source = resolve(model, quant=selection.quant) if selection.artefact is not None else None
    return Subject(
        engine=selection.engine.name,
        quant=selection.quant,
        model=selection.model,
        artefact=selection.artefact,
        source=source,
    )


def verify(subject: Subject, asked: Asked, server: Server, plan: Plan, say: Say) -> Result:
    """The whole comparison with a server that is ready."""
    about = f"verify {subject.engine} {subject.quant} of {subject.model}"
    artefact = subject.artefact
    weights = None if artefact is None else references.weights_at(artefact.path, about)
    vocabulary = weights.shape.vocabulary if weights is not None else SCRIPTED_VOCABULARY
    prompts = drawn(plan, artefact.tokenizer if artefact else None, vocabulary)
    say(f"asking for log-probabilities of {len(prompts)} prompts")
    told = answers(asked, prompts, plan)
    where = [places(answer) for answer in told]
    say(f"computing references for {sum(len(one.rows) for one in where):,} values")
    if weights is None:
        computed = _table(told, where)
    else:
        ids = [answer.ids for answer in told]
        ways = references.ways(server.precision, quantized=weights.quantized)
        computed = references.scored(weights, ids, where, ways)
        path = _original(subject, server.precision)
        if path is not None:
            computed.append(references.original(path, ids, where, about))
    return _judged(subject, server, told, where, computed)


def _table(told: Sequence[Answer], where: Sequence[Places]) -> list[Scored]:
    """The scripted server's fixed log-probability of each token."""
    import numpy as np

    from quantswarm.engines.scripted.vocabulary import logprob

    values = [np.array([logprob(int(one)) for one in part.tokens], np.float32) for part in where]
    table = Scored(name=VARIANT, label="the table of the scripted server", values=values)
    return [table, replace(table, name=NOISE)]


def _original(subject: Subject, precision: Precision) -> Path | None:
    """The unquantized model, where there is one and the variant is not that itself."""
    source, artefact = subject.source, subject.artefact
    if source is None or artefact is None or source.folder is None:
        return None
    own = source.folder == artefact.path
    if own and (precision.keys, precision.values) == (None, None):
        return None
    from quantswarm.models.hf_folder import read_json

    config = read_json(source.folder / "config.json", f"model {source.name}")
    return None if "quantization_config" in config else source.folder


def _judged(
    subject: Subject,
    server: Server,
    told: Sequence[Answer],
    where: Sequence[Places],
    computed: Sequence[Scored],
) -> Result:
    served = [one.served for one in where]
    by_name = {one.name: one for one in computed}
    base = by_name[VARIANT].values
    rows = [
        Row(
            name=one.name,
            label=one.label,
            served=between(served, one.values),
            from_variant=between(base, one.values),
        )
        for one in computed
        if one.name != NOISE
    ]
    variant, rest = rows[0], [row for row in rows[1:] if row.name != ORIGINAL]
    original = next((row for row in rows if row.name == ORIGINAL), None)
    noise = between(base, by_name[NOISE].values)
    allowed = tolerance(noise)
    return Result(
        engine=subject.engine,
        quant=subject.quant,
        model=subject.model,
        server=server,
        verdict=verdict(variant.served, allowed),
        rows=tuple(rows),
        noise=noise,
        allowed=allowed,
        parts=_parts(where, base),
        positions=_positions(told),
        weights_bytes=subject.artefact.weights_bytes if subject.artefact else None,
        warnings=(*server.warnings, *remarks(variant, rest, original, allowed)),
    )


def _parts(where: Sequence[Places], base: Sequence[Floats]) -> dict[str, Distance]:
    """Apart: a prompt is many rows at once, what is generated one row after another."""
    import numpy as np

    apart = np.concatenate(
        [np.abs(one.served - values) for one, values in zip(where, base, strict=True)]
    )
    generated = np.concatenate([one.generated for one in where])
    return {"prompt": of(apart[~generated]), "generated": of(apart[generated])}


def _positions(told: Sequence[Answer]) -> dict[str, int]:
    places_of = [(at >= answer.prompt_tokens) for answer in told for at in answer.scored]
    generated = sum(places_of)
    return {
        "prompts": len(told),
        "prompt": len(places_of) - generated,
        "generated": generated,
    }
