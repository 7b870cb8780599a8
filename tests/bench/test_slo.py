"""Objectives as they are written: in a table, on the command line, in a manifest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.load.plan import SwarmPlan, loads
from quantswarm.bench.load.scenario import scenario_from, scenario_named
from quantswarm.bench.slo import Slo, parse_slo, slo_from
from quantswarm.models.errors import BadFile, UserMistake

LIMIT = st.none() | st.floats(0.001, 1e6)
SCENARIO = {"api": "chat", "prompt_tokens": 40, "output_tokens": 7}


@given(ttft=LIMIT, tpot=LIMIT, e2e=LIMIT, share=st.floats(0.01, 0.9999))
def test_objectives_survive_the_manifest(
    ttft: float | None, tpot: float | None, e2e: float | None, share: float
) -> None:
    slo = Slo(ttft_ms=ttft, tpot_ms=tpot, e2e_ms=e2e, share=share)
    assert slo_from(slo.as_json(), "slo") == slo


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ttft_ms<200,tpot_ms<50", Slo(ttft_ms=200, tpot_ms=50)),
        (" ttft_ms <= 0.5 , share=0.95", Slo(ttft_ms=0.5, share=0.95)),
        ("e2e_ms<2e3", Slo(e2e_ms=2000)),
    ],
)
def test_the_command_lines_form(text: str, expected: Slo) -> None:
    assert parse_slo(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "ttft_ms", "ttft_ms<", "ttft_ms<fast", "ttft<200", "ttft_ms<-1", "ttft_ms<0"),
        *("ttft_ms<1,ttft_ms<2", "ttft_ms>3", "share=1", "share=0", "ttft_ms<nan", "ttft_ms<inf"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UserMistake) as caught:
        parse_slo(text)
    assert caught.value.next_step


def test_limits_of_ttft_and_tpot_are_one_of_the_whole() -> None:
    assert Slo(ttft_ms=100, tpot_ms=10).longest_ms(11) == 200
    assert Slo(ttft_ms=100, tpot_ms=10, e2e_ms=150).longest_ms(11) == 150
    assert Slo(ttft_ms=100).longest_ms(11) is None
    assert Slo(ttft_ms=100, tpot_ms=10).longest_ms(1) == 100


def test_a_scenario_holds_them_and_its_digest_does_not(tmp_path: Any) -> None:
    plain = scenario_from(SCENARIO, tmp_path / "s.toml")
    strict = scenario_from({**SCENARIO, "slo": {"ttft_ms": 200}}, tmp_path / "s.toml")
    assert plain.slo is None
    assert strict.slo == Slo(ttft_ms=200, share=0.99)
    assert strict.digest() == plain.digest()
    plan = SwarmPlan(
        base_url="http://h/v1", served_name="m", scenario=strict, users=1, out_dir=tmp_path
    )
    assert loads(plan.dumps()) == plan


@pytest.mark.parametrize("slo", [{"ttft": 200}, {"ttft_ms": "fast"}, {"share": 2}, 3])
def test_a_scenarios_mistake_names_the_file(tmp_path: Any, slo: Any) -> None:
    with pytest.raises(BadFile, match=r"mine\.toml"):
        scenario_from({**SCENARIO, "slo": slo}, tmp_path / "mine.toml")


@pytest.mark.parametrize("name", ["default", "chat"])
def test_shipped_scenarios_have_objectives(name: str) -> None:
    slo = scenario_named(name).slo
    assert slo is not None
    assert set(slo.limits) == {"ttft", "tpot"}
