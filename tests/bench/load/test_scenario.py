from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from quantswarm.bench.load.lengths import LAWS
from quantswarm.bench.load.plan import SwarmPlan, loads
from quantswarm.bench.load.scenario import (
    Scenario,
    scenario_from_json,
    scenario_named,
    scenarios,
    with_data,
)
from quantswarm.models.errors import BadFile, UnknownName

GOOD = 'api = "chat"\nprompt_tokens = 40\noutput_tokens = 7\nwarmup_s = 1\n'


def test_shipped_scenarios_are_readable_and_described() -> None:
    shipped = scenarios()
    wanted = {"default", "smoke", "chat", "rag", "code", "shared-prefix", "multi-turn", "mixed"}
    assert wanted <= set(shipped)
    assert all(scenario.description for scenario in shipped.values())
    assert all(scenario_named(name) == scenario for name, scenario in shipped.items())


def test_the_page_has_every_key_law_and_shipped_scenario() -> None:
    page = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text(encoding="utf-8")
    keys = {entry.name for entry in fields(Scenario)} - {"data_sha256"}
    for word in [*keys, *scenarios()]:
        assert f"`{word}`" in page
    for law, needed in LAWS.items():
        assert f'dist = "{law}", {needed[0]} = ' in page


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
        (GOOD.replace("40", "{ dist = 'uniform', min = 3, max = 9 }"), "prompt_tokens has min 3"),
        (GOOD + "prefixes = 2\n", "without 'shared_prefix_tokens'"),
        (GOOD + "shared_prefix_tokens = 30\n", "cannot hold a shared prefix of 30"),
        (GOOD + "think_time_s = 1\n", "there is one turn"),
        (GOOD.replace("chat", "completions") + "turns = 2\n", "need api = 'chat'"),
        (GOOD + "data = 'x.json'\n", "'prompt_tokens' and a data set"),
        ('api = "chat"\ndata = "none.json"\n', "none.json: cannot be read"),
        ('api = "chat"\ndata = 3\n', "data must be the path"),
        (GOOD + "longest_prompt_tokens = 99\n", "give max in prompt_tokens"),
        ("mix = []\n", "each under a line"),
        ('api = "chat"\nmix = []\n', "belongs to the scenarios of a mix"),
        ('[[mix]]\nscenario = "chat"\n', "needs 'scenario' and 'weight'"),
        ('[[mix]]\nscenario = "chat"\nweight = 0\n', "above 0"),
        ('[[mix]]\nscenario = "mixed"\nweight = 1\n', "mixes do not nest"),
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


def test_a_pair_of_numbers_keeps_its_digest_and_its_form() -> None:
    """Runs of earlier versions hold both, and stay comparable."""
    default = scenario_named("default")
    assert default.slo is not None
    assert default.digest() == "26957ebe4f92cb10"
    assert default.as_json() == {
        "name": "default",
        "api": "completions",
        "prompt_tokens": 128,
        "output_tokens": 64,
        "description": default.description,
        "warmup_s": 4.0,
        "duration_s": 20.0,
        "drain_s": 30.0,
        "slo": default.slo.as_json(),
    }


def test_every_shipped_scenario_survives_its_json() -> None:
    shipped = scenarios()
    for scenario in shipped.values():
        assert scenario_from_json(json.loads(json.dumps(scenario.as_json()))) == scenario
    digests = {scenario.digest() for scenario in shipped.values()}
    assert len(digests) == len(shipped)


@pytest.mark.parametrize(
    "line",
    ["shared_prefix_tokens = 24\n", "turns = 2\n", "turns = 2\nthink_time_s = 1\n"],
)
def test_whatever_else_is_asked_changes_the_digest(tmp_path: Path, line: str) -> None:
    good = GOOD.replace("40", "60")
    plain, more = tmp_path / "a.toml", tmp_path / "b.toml"
    plain.write_text(good)
    more.write_text(good + line)
    assert scenario_named(str(plain)).digest() != scenario_named(str(more)).digest()


def test_a_mix_finds_its_parts_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    mix = tmp_path / "mix.toml"
    part = '[[mix]]\nscenario = "{}"\nweight = {}\n'
    mix.write_text(part.format("mine.toml", 2) + part.format("smoke", 1))
    found = scenario_named(str(mix))
    assert [(weight, one.name) for weight, one in found.mix] == [(2.0, "mine"), (1.0, "smoke")]
    (tmp_path / "mine.toml").write_text(GOOD.replace("= 7", "= 8"))
    assert scenario_named(str(mix)).digest() != found.digest()


def test_a_data_set_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"prompt": "a"}\n')
    file = tmp_path / "mine.toml"
    file.write_text('api = "completions"\noutput_tokens = 7\ndata = "data.jsonl"\n')
    one = scenario_named(str(file))
    assert one.data == str(tmp_path / "data.jsonl")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "data.jsonl").write_text('{"prompt": "a"}\n')
    (moved / "mine.toml").write_text(file.read_text())
    assert scenario_named(str(moved / "mine.toml")).digest() == one.digest()
    (tmp_path / "data.jsonl").write_text('{"prompt": "b"}\n')
    assert scenario_named(str(file)).digest() != one.digest()


def test_a_data_set_takes_the_place_of_made_text(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"prompt": "a"}\n')
    found = with_data(scenario_named("smoke"), data)
    assert (found.data, found.prompt_tokens, found.output_tokens) == (str(data), None, 32)
    with pytest.raises(BadFile, match="has its own prompts"):
        with_data(scenario_named("mixed"), data)


@pytest.mark.parametrize("name", ["smoke", "mixed", "multi-turn", "shared-prefix"])
def test_a_plan_survives_its_file(tmp_path: Path, name: str) -> None:
    plan = SwarmPlan(
        base_url="http://h/v1",
        served_name="m",
        scenario=scenario_named(name),
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
