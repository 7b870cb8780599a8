"""Claims in a matrix file: what they become, and what is refused with the choices."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from quantswarm.bench.matrix import Matrix, read_matrix
from quantswarm.models.errors import BadFile, UnknownName

MATRIX = """
name = "m"
model = "tiny"
scenario = "smoke"
users = [1, 8]
[[variant]]
engine = "llamacpp"
quant = "f16"
[[variant]]
engine = "llamacpp"
quant = "q4_0"
slots = 2
[[variant]]
engine = "vllm"
quant = "awq"
label = "on a GPU"
needs = "cuda"
[[variant]]
engine = "vllm"
quant = "bf16"
model = "synthetic/0.1b"
"""
CLAIM = """
[[claim]]
source = "a page"
statement = "4-bit GGUF is 2 to 3 times as fast"
theirs = [2, 3.5]
metric = "output_throughput"
variant = "llamacpp-q4_0"
baseline = "llamacpp-f16"
users = 8
"""


def read(tmp_path: Path, text: str) -> Matrix:
    path = tmp_path / "m.toml"
    path.write_text(text)
    return read_matrix(path)


def test_a_claim_is_kept_whole(tmp_path: Path) -> None:
    found = read(tmp_path, MATRIX + CLAIM + 'note = "another model"\n')
    assert [dataclasses.asdict(claim) for claim in found.claims] == [
        {
            "source": "a page",
            "statement": "4-bit GGUF is 2 to 3 times as fast",
            "theirs": 2.0,
            "theirs_most": 3.5,
            "metric": "output_throughput",
            "variant": "llamacpp-q4_0",
            "baseline": "llamacpp-f16",
            "users": 8,
            "model": "tiny",
            "note": "another model",
        }
    ]


def test_one_number_is_no_range(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, MATRIX + CLAIM.replace("[2, 3.5]", "0.27")).claims
    assert (claim.theirs, claim.theirs_most, claim.note) == (0.27, None, "")


def test_claims_change_no_measurement(tmp_path: Path) -> None:
    assert read(tmp_path, MATRIX).digest() == read(tmp_path, MATRIX + CLAIM).digest()


def test_slots_and_needs_are_a_variants_own(tmp_path: Path) -> None:
    variants = read(tmp_path, MATRIX).variants
    assert [(variant.slots, variant.needs) for variant in variants] == [
        (None, None),
        (2, None),
        (None, "cuda"),
        (None, None),
    ]
    other = MATRIX.replace("slots = 2", "slots = 3")
    assert read(tmp_path, other).digest() != read(tmp_path, MATRIX).digest()


@pytest.mark.parametrize(
    ("good", "broken", "message"),
    [
        ("statement", "statment", "Did you mean statement"),
        ("llamacpp-q4_0", "llamacpp-q4-0", "Did you mean llamacpp-q4_0"),
        ('"llamacpp-f16"', '"llamacpp-fp16"', "Did you mean llamacpp-f16"),
        ("output_throughput", "output_troughput", "Did you mean output_throughput"),
        ('needs = "cuda"', 'needs = "cude"', "Did you mean cuda"),
    ],
)
def test_misspelt_names_are_refused_with_near_misses(
    tmp_path: Path, good: str, broken: str, message: str
) -> None:
    with pytest.raises(UnknownName, match=message):
        read(tmp_path, (MATRIX + CLAIM).replace(good, broken))


AGAIN = '[[variant]]\nengine = "llamacpp"\nquant = "f16"\nmodel = "synthetic/0.1b"\n'


@pytest.mark.parametrize(
    ("good", "broken", "message"),
    [
        ("users = 8\n", "users = 4\n", r"one of the matrix's \(1, 8\): 4"),
        ("users = 8\n", "users = true\n", "one of the matrix's"),
        ("users = 8\n", "", "'users' is missing"),
        ("[2, 3.5]", "0", "theirs must be a ratio above 0"),
        ("[2, 3.5]", "true", "theirs must be a ratio above 0"),
        ("[2, 3.5]", "nan", "theirs must be a ratio above 0"),
        ("[2, 3.5]", "inf", "theirs must be a ratio above 0"),
        ("[2, 3.5]", '"2x"', "theirs must be a ratio above 0"),
        ("[2, 3.5]", "[]", "theirs must be a ratio above 0"),
        ("[2, 3.5]", "[3, 2]", "theirs must be a ratio above 0"),
        ("[2, 3.5]", "[2, 0]", "theirs must be a ratio above 0"),
        ("[2, 3.5]", "[1, 2, 3]", "theirs must be a ratio above 0"),
        ('"a page"', '" "', "source of a claim must be words"),
        ('statement = "4', 'statement = 4 #"', "statement of a claim must be words"),
        ('"llamacpp-q4_0"', '"llamacpp-f16"', "is one variant"),
        ('"llamacpp-q4_0"', '"vllm-bf16"', "serve different models"),
        ("[[claim]]", "[claim]", "each under a line"),
        ("[[claim]]", AGAIN + "[[claim]]", "give it a label"),
        ("slots = 2", "slots = 0", "slots must be a whole number of 1 or more"),
    ],
)
def test_bad_claims_are_refused(tmp_path: Path, good: str, broken: str, message: str) -> None:
    text = MATRIX + CLAIM
    assert good in text
    with pytest.raises(BadFile, match=message):
        read(tmp_path, text.replace(good, broken))
