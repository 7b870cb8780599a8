"""Failures and resumption of the main job, with servers and swarms that are made up."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quantswarm.bench import run as main_job
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.matrix import Cell, Matrix, Variant
from quantswarm.bench.rundir import status_of, write_manifest
from quantswarm.bench.subject import Subject
from quantswarm.engines.prepare import ServeOptions
from quantswarm.models.errors import NotAvailable, QuantswarmError, RunFailed, ServerDied

A, B = (Variant(engine=engine, quant="none", model="none") for engine in ("scripted", "llamacpp"))
DIED = ServerDied("the server", "it ended", next_step="look")
LOST = RunFailed("the swarm", "it ended", next_step="look")
LACKING = NotAvailable("the engine", "not here", next_step="make setup")


def matrix(*variants: Variant, users: tuple[int, ...] = (1, 2)) -> Matrix:
    return Matrix(name="m", model="none", scenario="smoke", users=users, variants=variants)


@dataclass
class World:
    """What goes wrong, and what was done. Keys: a variant's engine, or (engine, users)."""

    start: dict[str, QuantswarmError] = field(default_factory=dict)
    load: dict[tuple[str, int], BaseException] = field(default_factory=dict)
    dies_after: set[tuple[str, int]] = field(default_factory=set)
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    measured: list[tuple[str, int]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    judged: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def serving(self, _job: object, cell: Cell, *, purpose: str = "") -> Iterator[Any]:
        variant = cell.variant
        self.started.append(variant.engine)
        if variant.engine in self.start:
            raise self.start[variant.engine]
        server = SimpleNamespace(dead=False)

        def raise_if_dead() -> None:
            if server.dead:
                raise DIED

        server.raise_if_dead = raise_if_dead
        try:
            subject = Subject(
                engine=variant.engine,
                quant="none",
                model="none",
                base_url="http://127.0.0.1:1/v1",
                served_name="none",
                server=server,  # type: ignore[arg-type]
            )
            yield SimpleNamespace(subject=subject)
        finally:
            self.stopped.append(variant.engine)

    def measure(self, subject: Subject, plan: SwarmPlan, _on_progress: object) -> str:
        key = (subject.engine, plan.users)
        self.measured.append(key)
        if key in self.load:
            raise self.load[key]
        write_manifest(plan.out_dir, {"status": "ok"})
        if key in self.dies_after:
            subject.server.dead = True  # type: ignore[union-attr]
        return "ok"

    def judge(self, folder: Path) -> Any:
        return SimpleNamespace(status=self.judged.get(folder.name, "ok"))

    def go(self, folder: Path, plan: Matrix, *, resume: bool = False) -> dict[str, str | None]:
        run = main_job.run_matrix(
            plan, folder, resume=resume, base=ServeOptions(), say=self.said.append
        )
        return {cell.name: status_of(run, cell.name) for cell in plan.cells()}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(main_job, "_serving", made.serving)
    monkeypatch.setattr(main_job, "measure", made.measure)
    monkeypatch.setattr(main_job, "check_pair", lambda _engine, _quant: None)
    monkeypatch.setattr(main_job, "judge", made.judge)
    return made


def reason(folder: Path, cell: str) -> str:
    manifest = json.loads((folder / "cells" / cell / "manifest.json").read_text())
    return str(manifest["reason"])


def test_one_server_serves_all_loads_of_a_variant(world: World, tmp_path: Path) -> None:
    assert set(world.go(tmp_path / "r", matrix(A, B)).values()) == {"ok"}
    assert world.started == world.stopped == ["scripted", "llamacpp"]


def test_an_engine_that_is_not_here_fails_its_cells_only_and_is_tried_once(
    world: World, tmp_path: Path
) -> None:
    world.start["scripted"] = LACKING
    states = world.go(tmp_path / "r", matrix(A, B))
    assert list(states.values()) == ["failed", "failed", "ok", "ok"]
    assert world.started == ["scripted", "llamacpp"]
    assert "make setup" in reason(tmp_path / "r", "scripted-none-u2")


def test_a_server_that_dies_between_cells_is_started_again(world: World, tmp_path: Path) -> None:
    world.dies_after.add(("scripted", 1))
    assert set(world.go(tmp_path / "r", matrix(A)).values()) == {"ok"}
    assert world.started == world.stopped == ["scripted", "scripted"]
    assert world.measured == [("scripted", 1), ("scripted", 2)]


def test_a_server_that_dies_after_the_last_cell_spoils_nothing(
    world: World, tmp_path: Path
) -> None:
    world.dies_after.add(("scripted", 2))
    assert set(world.go(tmp_path / "r", matrix(A)).values()) == {"ok"}
    assert world.started == ["scripted"]


def test_a_swarm_that_fails_costs_one_cell(world: World, tmp_path: Path) -> None:
    world.load["scripted", 1] = LOST
    states = world.go(tmp_path / "r", matrix(A, B))
    assert list(states.values()) == ["failed", "ok", "ok", "ok"]
    assert world.measured[:2] == [("scripted", 1), ("scripted", 2)]
    assert "the swarm: it ended" in reason(tmp_path / "r", "scripted-none-u1")


def test_an_interrupt_ends_the_job_and_stops_the_server(world: World, tmp_path: Path) -> None:
    world.load["scripted", 2] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        world.go(tmp_path / "r", matrix(A, B))
    assert world.started == world.stopped == ["scripted"]
    assert status_of(tmp_path / "r", "scripted-none-u1") == "ok"
    assert status_of(tmp_path / "r", "scripted-none-u2") is None


def test_resume_does_what_failed_and_what_is_missing_and_nothing_else(
    world: World, tmp_path: Path
) -> None:
    world.load["scripted", 1] = LOST
    world.load["llamacpp", 2] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        world.go(tmp_path / "r", matrix(A, B))
    world.load.clear()
    world.measured.clear()
    assert set(world.go(tmp_path / "r", matrix(A, B), resume=True).values()) == {"ok"}
    assert world.measured == [("scripted", 1), ("llamacpp", 2)]


def test_a_resumed_cell_that_cannot_start_loses_its_old_reason(
    world: World, tmp_path: Path
) -> None:
    world.load["scripted", 1] = LOST
    world.go(tmp_path / "r", matrix(A, users=(1,)))
    world.start["scripted"] = LACKING
    states = world.go(tmp_path / "r", matrix(A, users=(1,)), resume=True)
    assert list(states.values()) == ["failed"]
    assert "not here" in reason(tmp_path / "r", "scripted-none-u1")


def test_the_estimate_counts_every_cell_once(world: World, tmp_path: Path) -> None:
    world.start["scripted"] = LACKING
    world.go(tmp_path / "r", matrix(A, B))
    assert any(text.startswith("[3/4] llamacpp-none-u1") for text in world.said)
    assert any(text.startswith("[4/4] llamacpp-none-u2") for text in world.said)


def test_rounds_are_interleaved_and_every_server_is_started_anew(
    world: World, tmp_path: Path
) -> None:
    plan = dataclasses.replace(matrix(A, B, users=(1,)), rounds=2)
    states = world.go(tmp_path / "r", plan)
    assert world.started == world.stopped == ["scripted", "llamacpp", "llamacpp", "scripted"]
    assert list(states) == [
        "scripted-none-u1",
        "llamacpp-none-u1",
        "llamacpp-none-u1-round2",
        "scripted-none-u1-round2",
    ]
    assert set(states.values()) == {"ok"}


def test_resume_with_rounds_measures_the_missing_round_only(world: World, tmp_path: Path) -> None:
    plan = dataclasses.replace(matrix(A, B, users=(1,)), rounds=2)
    world.go(tmp_path / "r", plan)
    (tmp_path / "r/cells/llamacpp-none-u1-round2/manifest.json").unlink()
    world.started.clear()
    assert set(world.go(tmp_path / "r", plan, resume=True).values()) == {"ok"}
    assert world.started == ["llamacpp"]


@pytest.mark.parametrize("status", ["invalid", "failed"])
def test_resume_measures_again_what_judging_throws_out(
    world: World, tmp_path: Path, status: str
) -> None:
    """The swarm was content, and the records are not: its exit code must be curable."""
    world.go(tmp_path / "r", matrix(A))
    world.judged["scripted-none-u2"] = status
    world.measured.clear()
    world.go(tmp_path / "r", matrix(A), resume=True)
    assert world.measured == [("scripted", 2)]


def test_a_failed_cell_keeps_its_place_in_the_matrix(world: World, tmp_path: Path) -> None:
    world.start["scripted"] = LACKING
    world.go(tmp_path / "r", dataclasses.replace(matrix(A, users=(1,)), rounds=2))
    text = (tmp_path / "r/cells/scripted-none-u1-round2/manifest.json").read_text()
    facts = json.loads(text)
    assert (facts["variant"], facts["round"], facts["block"]) == ("scripted-none", 2, 2)
