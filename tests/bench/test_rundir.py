"""Run directories: what is whole, what is resumed, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantswarm.bench.matrix import Matrix, Variant
from quantswarm.bench.rundir import cell_folder, fresh_cell, open_run, status_of, write_manifest
from quantswarm.models.errors import BadFile, UserMistake


def matrix(users: int = 1) -> Matrix:
    return Matrix(
        name="m",
        model="none",
        scenario="smoke",
        users=(users,),
        variants=(Variant(engine="scripted", quant="none", model="none"),),
    )


def test_a_new_run_names_its_matrix_and_cells(tmp_path: Path) -> None:
    run = open_run(matrix(), tmp_path / "r", resume=False, host={"cores": 2})
    document = json.loads((run / "run.json").read_text())
    assert document["schema"] == 1
    assert document["cells"] == ["scripted-none-u1"]
    assert document["matrix_digest"] == matrix().digest()


def test_a_cell_is_whole_when_its_manifest_is_there(tmp_path: Path) -> None:
    run = open_run(matrix(), tmp_path / "r", resume=False, host={})
    folder = fresh_cell(run, "c")
    (folder / "records.jsonl").write_text("{}\n")
    assert status_of(run, "c") is None
    write_manifest(folder, {"status": "ok"})
    assert status_of(run, "c") == "ok"


def test_what_an_interrupted_attempt_left_is_removed(tmp_path: Path) -> None:
    run = open_run(matrix(), tmp_path / "r", resume=False, host={})
    (fresh_cell(run, "c") / "records.jsonl").write_text("old")
    assert list(fresh_cell(run, "c").iterdir()) == []


@pytest.mark.parametrize("text", ['{"status": "o', "[]", "{}"])
def test_half_a_manifest_is_no_manifest(tmp_path: Path, text: str) -> None:
    folder = cell_folder(tmp_path, "c")
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(text)
    assert status_of(tmp_path, "c") is None


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    open_run(matrix(), tmp_path / "r", resume=False, host={})
    with pytest.raises(UserMistake, match="--resume"):
        open_run(matrix(), tmp_path / "r", resume=False, host={})


def test_resume_takes_the_same_matrix_only(tmp_path: Path) -> None:
    run = open_run(matrix(), tmp_path / "r", resume=False, host={})
    assert open_run(matrix(), run, resume=True, host={}) == run
    with pytest.raises(UserMistake, match="another matrix"):
        open_run(matrix(users=2), run, resume=True, host={})


def test_resume_without_a_folder_finds_the_newest_run_of_the_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_run(matrix(), Path("runs/20260101-000000-m"), resume=False, host={})
    newer = open_run(matrix(), Path("runs/20260102-000000-m"), resume=False, host={})
    open_run(matrix(users=2), Path("runs/20260103-000000-m"), resume=False, host={})
    assert open_run(matrix(), None, resume=True, host={}) == newer


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(UserMistake, match="not empty"):
        open_run(matrix(), tmp_path, resume=False, host={})


@pytest.mark.parametrize("text", ["{", "[]", "{}", "null"])
def test_a_broken_run_file_is_said_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BadFile):
        open_run(matrix(), tmp_path, resume=True, host={})
