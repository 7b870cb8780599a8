"""A planted damage is found: one layer's weights of the embedded model, 5 % too large."""

from __future__ import annotations

import dataclasses

import numpy as np

from quantswarm.bench.quality.asked import Asked
from quantswarm.bench.quality.corpus import corpus_of, text_for
from quantswarm.bench.quality.document import numbers
from quantswarm.bench.quality.reference import reference_of
from quantswarm.bench.quality.scores import from_rows
from quantswarm.models import source
from quantswarm.models.reference.checkpoint import Checkpoint
from quantswarm.models.reference.forward import log_probabilities


class Damaged(Checkpoint):
    """The scales of a layer off by 5 %, as a quantizer with a fault would leave them."""

    def matrix(self, name):
        found = super().matrix(name)
        if not name.startswith("model.layers.4."):
            return found
        return dataclasses.replace(found, values=found.values * np.float32(1.05))


def test_a_layer_that_is_off_by_a_twentieth_is_a_significant_loss():
    model = source.resolve("tiny")
    corpus = corpus_of(text_for("tiny", None), model.tokenizer, Asked())
    reference = reference_of(model, corpus, lambda _text: None)
    assert model.folder is not None
    rows = log_probabilities(Damaged(model.folder, "test"), corpus.windows)
    found = numbers(from_rows((one[:-1] for one in rows), corpus, reference), corpus, reference)
    assert found["delta_nll_ci"][0] > 0
    assert found["top1_agreement"] < 0.98
    assert found["kl_mean"] > 1e-3
