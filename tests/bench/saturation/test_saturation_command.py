"""What can be asked of `quantswarm saturate`, and how trials are read from cells."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench import cli
from quantswarm.bench.commands import saturate
from quantswarm.bench.saturation.outcome import FILE, document, judged_again, trial_of, words
from quantswarm.bench.saturation.search import Settings
from quantswarm.models.errors import BadFile


def cell(name: str, rate: float, *, met: int | None, begun: int = 100, **more: Any) -> Any:
    slo = None if met is None else {"met": met, "begun": begun}
    base = {"cell": name, "arrivals": {"rate": rate}, "slo": slo, "requests": begun}
    return {**base, "warnings": [], "status": "ok", "reason": None, **more}


def warned(name: str) -> dict[str, Any]:
    return {"warnings": [{"name": name}]}


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (cell("a", 1, met=99), "passes"),
        (cell("a", 1, met=98), "misses"),
        (cell("a", 1, met=100, **warned("unstable")), "unstable"),
        (cell("a", 1, met=100, **warned("ended-early")), "unstable"),
        (cell("a", 1, met=100, **warned("short-window")), "passes"),
        (cell("a", 1, met=0, status="failed"), "misses"),
        (cell("a", 1, met=None, status="failed", requests=None), "misses"),
        (cell("a", 1, met=100, status="invalid"), "invalid"),
    ],
)
def test_a_cells_verdict(found: Any, verdict: str) -> None:
    assert words(trial_of(found), 0.99) == verdict


SETTINGS = {"share": 0.99, "low": 1.0, "high": 8.0, "repeats": 1}
CELLS = [cell("t1", 1, met=100), cell("t2", 2, met=100), cell("t3", 4, met=10)]


def test_a_search_is_judged_again_from_its_cells(tmp_path: Path) -> None:
    assert judged_again(tmp_path, CELLS) is None
    stored = document(SETTINGS, ["t1", "t2", "t3"], CELLS, None)
    (tmp_path / FILE).write_text(json.dumps(stored))
    assert judged_again(tmp_path, CELLS) == stored
    assert stored["conclusion"]["rate"] == 2
    stricter = [*CELLS[:1], cell("t2", 2, met=10), *CELLS[2:]]
    again = judged_again(tmp_path, stricter)
    assert again is not None
    assert (again["conclusion"]["rate"], again["conclusion"]["fails_at"]) == (1, 2)


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": {}}', '{"settings": {"x": 1}}'])
def test_a_damaged_search_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(BadFile, match="not a search"):
        judged_again(tmp_path, CELLS)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], "give either --engine"),
        (["--engine", "scripted", "--url", "http://h/v1"], "give either --engine"),
        (["--engine", "scripted", "--slo", "ttft<3"], "no objective is called 'ttft'"),
        (["--engine", "scripted", "--share", "1.5"], "--share 1.5: not between 0 and 1"),
        (["--engine", "scripted", "--low", "0"], "--low 0: not a rate above 0"),
        (["--engine", "scripted", "--low", "9", "--high", "3"], "nothing lies between"),
        (["--engine", "scripted", "--arrivals", "gama"], "Did you mean gamma"),
        (["--engine", "scripted", "--burstiness", "0.5"], "poisson arrivals have none"),
        (["--engine", "scripted", "--max-in-flight", "0"], "0 in flight"),
        (["--engine", "scripted", "--scenario", "chatt"], "Did you mean chat"),
    ],
)
def test_mistakes_are_said_before_anything_starts(
    asked: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["saturate", *asked]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Next: " in told


def settings_of(*words: str) -> tuple[Settings, Any]:
    parser = argparse.ArgumentParser()
    saturate.add_arguments(parser)
    arguments = parser.parse_args(["--engine", "scripted", *words])
    load = saturate._load(arguments)
    return saturate._settings(arguments, load), load.slo


def test_objectives_are_the_scenarios_unless_others_are_given() -> None:
    plain, slo = settings_of("--duration", "20")
    assert slo.limits == {"ttft": 200, "tpot": 50}
    assert (plain.share, plain.floor, plain.repeats, plain.width) == (0.99, 0.5, 3, 0.05)
    other, slo = settings_of("--slo", "e2e_ms<9", "--share", "0.9")
    assert slo.limits == {"e2e": 9}
    assert other.share == slo.share == 0.9
    _, none = settings_of("--scenario", "smoke")
    assert none.limits == {}


def test_help_lists_every_command_in_its_folder() -> None:
    names = cli.command_names()
    folder = Path(saturate.__file__).parent
    assert set(names) == {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert names[:2] == ("serve", "swarm")
    assert "saturate" in names
