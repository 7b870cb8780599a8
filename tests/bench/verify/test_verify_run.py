"""The whole comparison against a server whose numbers are known, in every format."""

from __future__ import annotations

import numpy as np
import pytest

from quantswarm.bench.verify.asking import Asked
from quantswarm.bench.verify.plan import Plan
from quantswarm.bench.verify.result import Server
from quantswarm.bench.verify.run import Subject, verify
from quantswarm.engines.base import Precision
from quantswarm.models.artefact import Artefact
from quantswarm.models.reference.forward import Numerics
from quantswarm.models.reference.rounding import bfloat16, e4m3, e4m3_toward_zero, int8_rows

PLAN = Plan(prompts=8, prompt_tokens=16, output_tokens=2)
FOUR_BITS = ("gptq", "awq", "w4a16")
FORMATS = (*FOUR_BITS, "int8")


def verified(models, url, kind, *, dtype="float32", cache=None, dialect="echo"):
    artefact = Artefact(
        path=models[kind],
        format="safetensors",
        model="small",
        quant=kind,
        weights_bytes=1,
        sha256="",
        tokenizer=None,
        context_tokens=256,
        random_weights=True,
    )
    precision = Precision(dtype=dtype, keys=cache, values=cache)
    return verify(
        Subject(
            engine="stub", quant=kind, model="small", artefact=artefact, original=models["plain"]
        ),
        Asked(base_url=url, served_name="stub", dialect=dialect),
        Server(url=url, version=None, device=None, precision=precision, kernels=()),
        PLAN,
        lambda _text: None,
    )


def names(result):
    return [name for name, *_ in result.warnings]


def row(result, name):
    (found,) = [one for one in result.rows if one.name == name]
    return found


@pytest.mark.parametrize("dialect", ["echo", "llama"])
@pytest.mark.parametrize("kind", ["plain", *FORMATS])
def test_the_weights_as_stored_match(models, stub, kind, dialect):
    url = stub(models["plain" if kind == "plain" else f"{kind}-wide"])
    result = verified(models, url, kind, dialect=dialect)
    assert result.verdict == "matches"
    assert row(result, "variant").served.mean < 1e-5
    assert not result.warnings


@pytest.mark.parametrize("kind", FORMATS)
def test_the_original_in_their_place_differs(models, stub, kind):
    result = verified(models, stub(models["plain"]), kind)
    assert result.verdict == "differs"
    assert "not-quantized" in names(result)
    assert row(result, "original").served.mean < 1e-5 < row(result, "variant").served.mean


@pytest.mark.parametrize(
    "bend", [lambda rows: rows + np.float32(0.05), lambda rows: np.where(rows > -3, rows, -20)]
)
def test_a_known_perturbation_differs(models, stub, bend):
    assert verified(models, stub(models["plain"], bend=bend), "plain").verdict == "differs"


def test_rounding_to_the_compute_type_is_allowed_and_a_narrower_one_is_not(models, stub):
    url = stub(models["gptq-wide"], Numerics(keep=bfloat16))
    assert verified(models, url, "gptq", dtype="bfloat16").verdict == "matches"
    assert verified(models, url, "gptq", dtype="float16").verdict == "differs"


@pytest.mark.parametrize("kind", FOUR_BITS)
def test_rounded_activations_are_named(models, stub, kind):
    """A w4a8 kernel behind a checkpoint that asks for 16-bit activations."""
    url = stub(models[kind], Numerics(inputs=int8_rows))
    result = verified(models, url, kind)
    assert "other-arithmetic" in names(result)
    assert row(result, "activations-by-token").share.value == pytest.approx(1, abs=0.05)


def test_activations_that_the_scheme_rounds_are_part_of_the_noise(models, stub):
    result = verified(models, stub(models["int8"]), "int8")
    assert result.verdict == "matches"
    assert not result.warnings


def test_a_cache_that_rounds_matches_and_one_that_cuts_off_does_not(models, stub):
    rounds = stub(models["plain"], Numerics(keys=e4m3, values=e4m3))
    assert verified(models, rounds, "plain", cache="e4m3").verdict == "matches"
    cuts = stub(models["plain"], Numerics(keys=e4m3_toward_zero, values=e4m3_toward_zero))
    result = verified(models, cuts, "plain", cache="e4m3")
    assert result.verdict == "differs"
    assert "other-arithmetic" in names(result)
    assert row(result, "cache-cut-off").share.value == pytest.approx(1, abs=0.05)


def test_the_document_has_every_number(models, stub):
    result = verified(models, stub(models["gptq-wide"]), "gptq")
    found = result.document()
    assert found["verdict"] == "matches"
    at = found["positions"]
    assert at["prompts"] == 8
    assert at["generated"] == 16
    assert found["references"][0]["name"] == "variant"
    assert found["references"][-1]["share"]["value"] == pytest.approx(0, abs=1e-3)
    assert found["error_by_part"]["generated"]["values"] > 0
