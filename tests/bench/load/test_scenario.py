from __future__ import annotations

from pathlib import Path

import pytest

from quantswarm.bench.load.plan import SwarmPlan, loads
from quantswarm.bench.load.scenario import Scenario, scenario_named, scenarios
from quantswarm.models.errors import BadFile, UnknownName

GOOD = 'api = "chat"\nprompt_tokens = 40\noutput_tokens = 7\nwarmup_s = 1\n'


def test_shipped_scenarios_are_readable_and_described() -> None:
    shipped = scenarios()
    assert {"default", "smoke", "chat"} <= set(shipped)
    assert all(scenario.description for scenario in shipped.values())
    assert all(scenario_named(name) == scenario for name, scenario in shipped.items())


def test_a_near_miss_is_named() -> None:
    with pytest.raises(UnknownName, match="Did you mean default"):
        scenario_named("defualt")


def test_a_file_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    scenario = scenario_named(str(path))
    assert (scenario.name, scenario.api, scenario.warmup_s) == ("mine", "chat", 1.0)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("api = ", "not readable as TOML"),
        ('api = "chat"\nprompt_tokens = 40\n', "'output_tokens' is missing"),
        (GOOD.replace("chat", "chta"), "none of completions, chat"),
        (GOOD.replace("40", "3"), "at least 24"),
        (GOOD.replace("40", "40.5"), "whole number"),
        (GOOD.replace("= 7", "= true"), "whole number"),
        (GOOD.replace("= 1", "= -1"), "must be seconds"),
    ],
)
def test_a_bad_file_is_explained(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(BadFile, match=found):
        scenario_named(str(path))


def test_a_mistyped_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(GOOD + "duration = 3\n")
    with pytest.raises(UnknownName, match="duration_s"):
        scenario_named(str(path))


def test_a_missing_file() -> None:
    with pytest.raises(BadFile, match="no such file"):
        scenario_named("nowhere/x.toml")


def test_the_digest_follows_what_is_asked_alone() -> None:
    one = Scenario(name="a", api="chat", prompt_tokens=40, output_tokens=7)
    renamed = Scenario(name="b", api="chat", prompt_tokens=40, output_tokens=7, duration_s=9)
    longer = Scenario(name="a", api="chat", prompt_tokens=40, output_tokens=8)
    assert one.digest() == renamed.digest() != longer.digest()


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = SwarmPlan(
        base_url="http://h/v1",
        served_name="m",
        scenario=scenario_named("smoke"),
        users=3,
        out_dir=tmp_path,
        warmup_s=0.0,
        pinned_by="vllm",
        tokenizer=tmp_path / "t.json",
        cores=(1,),
    )
    assert loads(plan.dumps()) == plan
    assert plan.warmup == 0.0
    assert plan.duration == plan.scenario.duration_s
