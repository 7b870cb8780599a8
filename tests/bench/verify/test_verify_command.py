"""`quantswarm verify` as a user meets it: verdicts, exit codes, one document."""

from __future__ import annotations

import json

import numpy as np
import pytest

from quantswarm.bench import cli


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path / "home"))


def words(model, url):
    plan = ("--prompts", "4", "--prompt-tokens", "12", "--output-tokens", "2")
    return [
        *("verify", "--engine", "vllm", "--quant", "fp32", "--model", str(model), "--url", url),
        *plan,
    ]


def test_a_server_that_runs_elsewhere_matches(models, stub, capsys):
    assert cli.main([*words(models["plain"], stub(models["plain"])), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "matches"
    assert found["dtype"] == "float32"
    assert found["kernels"] is None


def test_one_that_differs_ends_with_1(models, stub, capsys):
    url = stub(models["plain"], bend=lambda rows: rows + np.float32(0.1))
    assert cli.main(words(models["plain"], url)) == 1
    assert "verdict      differs" in capsys.readouterr().out


def test_the_scripted_server_is_started_and_tells_its_table(capsys):
    assert cli.main(["verify", "--engine", "scripted", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "matches"
    assert found["positions"]["generated"] == 96
    assert found["references"][0]["error"]["max"] < 1e-6


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--engine", "llamacpp-python", "--quant", "q8_0"), "no log-probabilities"),
        (("--url", "http://127.0.0.1:1/v1"), "no answer"),
        (("--original", "nowhere/"), "nowhere"),
        (("--text", "nowhere.txt"), "cannot be read"),
    ],
)
def test_mistakes_are_said_before_anything_is_computed(changed, message, models, stub, capsys):
    model = "tiny" if "--text" in changed else models["plain"]
    url = stub(models["plain"])
    assert cli.main([*words(model, url), *changed]) in (1, 2)
    assert message in capsys.readouterr().err
