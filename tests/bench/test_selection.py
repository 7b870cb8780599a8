"""From names to things: cheap refusals come before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from quantswarm.bench import selection
from quantswarm.engines.base import Availability, Command, Engine, ServeSpec
from quantswarm.engines.registry import engine_named
from quantswarm.models import store
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import NotAvailable, UnknownName, UnsupportedPair, UserMistake


class Absent(Engine):
    """An engine that this machine lacks."""

    name: ClassVar[str] = "absent"
    summary: ClassVar[str] = "never there"
    formats: ClassVar[Mapping[str, tuple[str, ...]]] = {"gguf": ()}

    def __init__(self, cure: str = "buy one") -> None:
        self.cure = cure

    def probe(self) -> Availability:
        return Availability(available=False, reason="it was never made", cure=self.cure)

    def command(
        self, artefact: Artefact | None, spec: ServeSpec, flags: tuple[str, ...]
    ) -> Command:
        raise AssertionError("must not be asked for a command")


def test_an_alias_is_the_recipe_itself() -> None:
    engine, recipe = selection.check_pair("llamacpp", "int4")
    assert engine.name == "llamacpp"
    assert recipe is not None
    assert recipe.name == "q4_k_m"


@pytest.mark.parametrize("quant", [None, "", "none"])
def test_an_engine_without_weights_needs_no_quantization(quant: str | None) -> None:
    engine, recipe = selection.check_pair("scripted", quant)
    assert (engine.name, recipe) == ("scripted", None)


def test_an_engine_without_weights_refuses_a_quantization() -> None:
    with pytest.raises(UnsupportedPair, match="serves no weights"):
        selection.check_pair("scripted", "q8_0")


def test_an_engine_with_weights_names_the_quantizations_to_choose_from() -> None:
    with pytest.raises(UserMistake, match="no quantization was given") as caught:
        selection.check_pair("llamacpp", None)
    assert "q8_0" in caught.value.evidence
    assert "fp32" not in caught.value.evidence


@pytest.mark.parametrize(
    ("engine", "quant", "error"),
    [
        ("vlm", "fp32", UnknownName),
        ("vllm", "fp23", UnknownName),
        ("vllm", "q8_0", UnsupportedPair),
    ],
)
def test_wrong_names_and_pairs_are_refused(
    engine: str, quant: str, error: type[UserMistake]
) -> None:
    with pytest.raises(error):
        selection.check_pair(engine, quant)


@pytest.mark.parametrize(("cure", "step"), [("buy one", "buy one"), ("", "quantswarm doctor")])
def test_an_engine_that_is_not_here_comes_with_its_cure(cure: str, step: str) -> None:
    with pytest.raises(NotAvailable, match="it was never made") as caught:
        selection.check_available(Absent(cure))
    assert step in caught.value.next_step


def test_nothing_is_built_for_an_engine_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def built(*_: object) -> None:
        raise AssertionError("nothing may be built")

    monkeypatch.setattr(selection, "engine_named", lambda _name: Absent())
    monkeypatch.setattr(store, "artefact", built)
    with pytest.raises(NotAvailable):
        selection.select("absent", "q8_0", "tiny")


def test_a_selection_without_weights_has_neither_quantization_nor_model() -> None:
    chosen = selection.select_planned("scripted", None, "tiny")
    assert (chosen.quant, chosen.model, chosen.artefact) == ("none", "none", None)


def test_weights_for_gpus_are_refused_on_a_cpu_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = Availability(available=True, device="cpu")
    monkeypatch.setattr(type(engine_named("vllm")), "probe", lambda self: there)
    monkeypatch.setattr(store, "artefact", lambda *_: pytest.fail("it was built"))
    with pytest.raises(UnsupportedPair, match=r"'fp8' on a CPU.*it needs an NVIDIA GPU"):
        selection.select("vllm", "fp8", "tiny")
