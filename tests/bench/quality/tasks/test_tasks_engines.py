"""A real server: what it generates is what an independent forward pass finds likeliest."""

from __future__ import annotations

import numpy as np
import pytest

from quantswarm.bench.quality.tasks.endpoint import outcomes_at
from quantswarm.bench.quality.tasks.generate import generated
from quantswarm.bench.quality.tasks.item import COMPLETION
from quantswarm.bench.quality.tasks.scoring import Tail
from quantswarm.bench.selection import select
from quantswarm.bench.verify.asking import Asked
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.engines.server import running
from quantswarm.models.reference.checkpoint import Checkpoint
from quantswarm.models.reference.forward import Numerics, picked

pytestmark = pytest.mark.engines


class Reference:
    """A `Scorer` in float32, in process, that shares no code with an engine."""

    def __init__(self, folder):
        self.weights = Checkpoint(folder, "reference")

    def tails(self, sequences):
        def pick(at, rows):
            context, option = sequences[at]
            some = rows[len(context) - 1 : -1]
            own = some[np.arange(len(option)), list(option)]
            return np.stack([own, own >= some.max(1)])

        whole = [context + option for context, option in sequences]
        (found,) = picked(self.weights, whole, [Numerics()], pick)
        return [
            Tail(logprobs=tuple(map(float, own)), likeliest=tuple(map(bool, likeliest)))
            for own, likeliest in found
        ]


def test_llamacpp_generates_what_the_reference_finds_likeliest(held_out, tokenizer, tmp_path):
    if not engine_named("llamacpp").probe().available:
        pytest.skip("missing: llamacpp")
    items = generated(COMPLETION, held_out, 40, 0)
    chosen = select("llamacpp", "f16", "tiny")
    options = ServeOptions(port=0, users=4, request_tokens=128)
    prepared = prepare(chosen.engine, chosen.recipe, chosen.artefact, options, found=chosen.found)
    log = tmp_path / "server.log"
    with running(chosen.engine, chosen.artefact, prepared.spec, prepared.flags, log=log) as up:
        asked = Asked(base_url=up.base_url, served_name=up.served_name, dialect="llama")
        served = [one.right for one in outcomes_at(items, asked)]
        known = [one.right for one in outcomes_at(items, asked, Reference(tokenizer))]
    assert 4 <= sum(known) <= 30
    assert sum(one != other for one, other in zip(served, known, strict=True)) <= 1
