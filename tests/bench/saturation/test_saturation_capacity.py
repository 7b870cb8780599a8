"""Ground truth: a server of 8 places and 0.1 s a request answers 80 requests a second, no more."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.commands import saturate as command
from quantswarm.bench.finish import finish
from quantswarm.bench.judge.summary import summarise
from quantswarm.bench.saturation import outcome
from quantswarm.bench.saturation import run as run_module
from quantswarm.bench.saturation.outcome import trial_of
from quantswarm.bench.saturation.search import Trial
from quantswarm.bench.serving import options_from
from quantswarm.bench.single import drive_started

CAPACITY = 80.0
BEHAVIOUR = "behaviour=ttft=90ms,itl=10ms,slots=8"
SCENARIO = """
api = "completions"
prompt_tokens = 32
output_tokens = 2
warmup_s = 0.5
duration_s = 3
drain_s = 5
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saturate")


@pytest.fixture(scope="module", autouse=True)
def busy_hosts_count_too() -> Iterator[None]:
    """A busy host makes trials invalid, rightly; what is tested here stands all the same."""

    def taken(cell: Any) -> Trial:
        return dataclasses.replace(trial_of(cell), valid=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcome, "trial_of", taken)
        patch.setattr(run_module, "trial_of", taken)
        yield


def saturate(folder: Path, out: str, *words: str, behaviour: str = BEHAVIOUR) -> dict[str, Any]:
    """A search against a server started for it, as the command makes it; its document."""
    scenario = folder / "short.toml"
    scenario.write_text(SCENARIO)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    server = ["--engine", "scripted", "--option", behaviour, "--scenario", str(scenario)]
    arguments = parser.parse_args([*server, *words, "--repeats", "1", "--out", str(folder / out)])
    load = command._load(arguments)
    quest = run_module.Quest(settings=command._settings(arguments, load))
    options = options_from(arguments, users=8, port=0)
    names = ("scripted", None, "tiny")
    done = drive_started(names, options, load, lambda _: None, quest.drive)
    summary, _ = finish(done, lambda _: None)
    found: dict[str, Any] = summary["saturation"]
    return found


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    """Even arrivals, so that the edge is the capacity itself and no matter of chance."""
    limits = ("--slo", "e2e_ms<180,share=0.9")
    bounds = ("--low", "50", "--high", "200", "--width", "0.1", "--arrivals", "constant")
    return saturate(folder, "run", *limits, *bounds)


def test_the_known_capacity_is_found(found: dict[str, Any]) -> None:
    answer = found["conclusion"]
    assert answer["rate"] <= CAPACITY * 1.05, found
    assert answer["fails_at"] >= CAPACITY * 0.95, found
    assert answer["fails_at"] <= answer["rate"] * 1.101
    assert answer["sentence"].startswith("Passes at")
    assert answer["requests"] == round(answer["rate"] * 3)


def test_every_trial_is_a_cell_that_can_be_judged_again(
    found: dict[str, Any], folder: Path
) -> None:
    run = folder / "run"
    summary = summarise(run)
    assert summary["saturation"] == found == json.loads((run / "saturation.json").read_text())
    names = {trial["cell"] for trial in found["trials"]}
    assert names == {cell["cell"] for cell in summary["cells"]}
    assert len(list((run / "servers").iterdir())) == 1
    for cell in summary["cells"]:
        assert cell["arrivals"]["kind"] == "constant"
        assert cell["slo"]["slo"]["e2e_ms"] == 180
        assert cell["slo"]["of"] == "offered by the schedule"


def test_a_hopeless_trial_was_ended_early(found: dict[str, Any], folder: Path) -> None:
    hopeless = next(trial for trial in found["trials"] if trial["rate"] == 100)
    assert hopeless["verdict"] == "unstable"
    manifest = json.loads((folder / "run/cells" / hopeless["cell"] / "manifest.json").read_text())
    assert manifest["status"] == "ok" or "missed" in manifest["reason"]
    assert "missed the objectives" in manifest["ended_early"]


def test_the_report_shows_the_search(found: dict[str, Any], folder: Path) -> None:
    page, text = ((folder / "run" / name).read_text() for name in ("report.html", "report.md"))
    for told in (page, text):
        assert found["conclusion"]["sentence"] in told
        assert "Saturation" in told
    assert "saturation-" in page
    assert " users" not in page.split('id="results"')[1].split('id="warnings"')[0]


def test_above_capacity_is_unstable_and_below_is_not(folder: Path) -> None:
    """Poisson arrivals at 0.7 and at 1.3 times the capacity, driven to their end."""
    limits = ("--slo", "ttft_ms<5000,share=0.9")
    bounds = ("--low", "56", "--high", "104", "--width", "0.9")
    trials = saturate(folder, "both", *limits, *bounds)["trials"]
    assert [(trial["rate"], trial["verdict"]) for trial in trials] == [
        (56, "passes"),
        (104, "unstable"),
    ]
    cells = {cell["cell"]: cell for cell in summarise(folder / "both")["cells"]}
    warned = {t["rate"]: [w["name"] for w in cells[t["cell"]]["warnings"]] for t in trials}
    assert "unstable" not in warned[56]
    assert "unstable" in warned[104]
    assert "ended-early" not in warned[104]


def test_a_server_that_dies_ends_the_search_with_what_is_known(folder: Path) -> None:
    """It answers 220 requests, which is more than the first rate's and fewer than both rates'."""
    deadly = f"{BEHAVIOUR},fault=exit@index:220"
    bounds = ("--low", "50", "--high", "60", "--arrivals", "constant", "--slo", "e2e_ms<5000")
    found = saturate(folder, "dies", *bounds, behaviour=deadly)
    passed, died = found["trials"]
    assert (passed["rate"], passed["verdict"]) == (50, "passes")
    assert died["rate"] == 60
    assert died["verdict"] in {"misses", "unstable"}, "by how long the dead server was still asked"
    assert (found["conclusion"]["rate"], found["conclusion"]["fails_at"]) == (50, 60)
    assert found["ended"]
    assert "Broken off" in (folder / "dies" / "report.md").read_text()
