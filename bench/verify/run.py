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
from quantswarm.bench.verify.distance import Distance, Places, between, of, places, share
from quantswarm.bench.verify.plan import Plan, drawn
from quantswarm.bench.verify.references import NOISE, ORIGINAL, VARIANT, Scored
from quantswarm.bench.verify.result import Result, Server
from quantswarm.bench.verify.verdict import Row, remarks, tolerance, verdict
from quantswarm.models import at_load
from quantswarm.models.errors import UserMistake

if TYPE_CHECKING:
    from quantswarm.engines.base import Engine
    from quantswarm.models.artefact import Artefact
    from quantswarm.models.dequantize import Floats

SCRIPTED_VOCABULARY = 4096
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is verified; `original` is the folder of the unquantized model, None if unknown."""

    engine: str
    quant: str
    model: str
    artefact: Artefact | None
    original: Path | None


def dialect_of(engine: Engine) -> str:
    """How the engine tells log-probabilities; `UserMistake` where it does not."""
    dialect = engine.logprobs_by
    if dialect is None:
        from quantswarm.engines.registry import engines

        able = [one.name for one in engines().values() if one.logprobs_by]
        raise UserMistake(
            f"verify {engine.name}",
            "its server tells no log-probabilities that can be trusted",
            evidence=f"Engines that do: {', '.join(able)}.",
            next_step="verify the same weights through one of them",
        )
    return dialect


def subject_of(selection: Selection, model: str, original: str | None) -> Subject:
    """The selection, and the folder of the unquantized model where one is known; `UserMistake`
    for weights that are quantized as they are loaded."""
    if selection.quant in at_load.QUANTS:
        raise UserMistake(
            f"verify {selection.engine.name} {selection.quant}",
            "its weights are quantized as they are loaded: no checkpoint says what they must be",
            next_step="quantswarm quality tells what they lose",
        )
    return Subject(
        engine=selection.engine.name,
        quant=selection.quant,
        model=selection.model,
        artefact=selection.artefact,
        original=_original(selection, model, original),
    )


def _original(selection: Selection, model: str, named: str | None) -> Path | None:
    """The one that is named, else what the artefact was made from, unless that was quantized."""
    from quantswarm.models.hf_folder import read_json
    from quantswarm.models.source import resolve

    if selection.artefact is None:
        return None
    folder = resolve(named or model, quant=selection.quant).folder
    if folder is None:
        return None
    config = read_json(folder / "config.json", f"model {named or model}")
    if "quantization_config" not in config:
        return folder
    if named is None:
        return None
    raise UserMistake(
        f"--original {named}",
        "its weights are quantized",
        next_step="name the model that was quantized, or leave the option out",
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
        computed = _table(where)
    else:
        ids = [answer.ids for answer in told]
        ways = references.ways(
            server.precision, quantized=weights.quantized, rounds_inputs=weights.rounds_inputs
        )
        computed = references.scored(weights, ids, where, ways)
        changed = weights.quantized or references.narrow(server.precision)
        if changed and subject.original is not None:
            computed.append(references.original(subject.original, ids, where, about))
    return _judged(subject, server, told, where, computed)


def _table(where: Sequence[Places]) -> list[Scored]:
    """The scripted server's fixed log-probability of each token."""
    import numpy as np

    from quantswarm.engines.scripted.vocabulary import logprob

    values = [np.array([logprob(int(one)) for one in part.tokens], np.float32) for part in where]
    table = Scored(name=VARIANT, label="the table of the scripted server", values=values)
    return [table, replace(table, name=NOISE)]


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
            share=share(served, base, one.values),
            noise=share(by_name[NOISE].values, base, one.values),
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
        verdict=verdict(variant, original, allowed),
        rows=tuple(rows),
        noise=noise,
        allowed=allowed,
        parts=_parts(where, base),
        positions=_positions(told),
        weights_bytes=subject.artefact.weights_bytes if subject.artefact else None,
        warnings=(*server.warnings, *remarks(rest, original)),
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
