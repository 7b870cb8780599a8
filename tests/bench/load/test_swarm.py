"""The whole load path: Locust in its own process, against a server that keeps its own ledger."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from quantswarm.bench.load.arrivals import Arrivals
from quantswarm.bench.load.crew import MODULE
from quantswarm.bench.load.plan import FACTS, SPOOL, SwarmPlan
from quantswarm.bench.load.progress import Progress
from quantswarm.bench.load.scenario import Scenario
from quantswarm.bench.load.swarm import RECORDS, drive
from quantswarm.models.errors import BadFile, PortInUse, RunFailed, UserMistake

SCENARIO = Scenario(name="tiny", api="completions", prompt_tokens=32, output_tokens=8)


def plan_for(base_url: str, out_dir: Path, **more: Any) -> SwarmPlan:
    fields: dict[str, Any] = {"users": 3, "warmup_s": 0.3, "duration_s": 1.5, "drain_s": 5.0}
    return SwarmPlan(
        base_url=base_url,
        served_name="m",
        scenario=SCENARIO,
        out_dir=out_dir,
        **{**fields, **more},
    )


def records_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / RECORDS).read_text().splitlines()]


def swarm_processes() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if any(MODULE in word for word in child.cmdline())]


def paced(wire: Any, pause_s: float) -> Any:
    """A good answer that takes its time: the client, not a counter, ends up waiting."""

    def answer(asked: Any, to: socket.socket) -> bool:
        raw = wire.whole_answer(asked)
        half = len(raw) // 2
        to.sendall(raw[:half])
        time.sleep(pause_s)  # the server's own service time
        to.sendall(raw[half:])
        return "connection: keep-alive" in asked.head.lower()

    return answer


def test_records_are_exactly_the_servers_ledger(serve: Any, wire: Any, tmp_path: Path) -> None:
    server = serve(paced(wire, 0.02))
    seen: list[Progress] = []
    result = drive(plan_for(server.base_url, tmp_path), seen.append)
    records = records_in(tmp_path)
    asked = {entry.body["prompt"].split()[0] for entry in server.asked}
    assert len(server.asked) == len(asked) == len(records) == result.recorded == result.started
    assert {record["id"] for record in records} == asked
    for entry in server.asked:  # a server that keeps a ledger can be joined with the records
        assert f"x-request-id: {entry.body['prompt'].split()[0]}" in entry.head.lower()
    assert result.outcomes == {"ok": len(records)}
    assert all(sum(record["event_tokens"]) == 8 == record["output_tokens"] for record in records)
    assert (result.warnings, result.invalid_reason, result.interrupted) == ((), None, False)
    assert seen
    assert seen[-1].failures == 0
    assert sorted(p.name for p in tmp_path.glob("*.jsonl*")) == [RECORDS]
    assert not (tmp_path / SPOOL).exists()
    assert not swarm_processes()


def test_time_and_users(serve: Any, wire: Any, tmp_path: Path) -> None:
    server = serve(paced(wire, 0.02))
    result = drive(plan_for(server.base_url, tmp_path, users=4))
    window = result.window
    assert window.swarm_start_ns is not None
    assert window.start_ns is not None
    assert window.end_ns is not None
    assert window.drained_ns is not None
    assert window.start_ns - window.swarm_start_ns == 300_000_000
    assert window.end_ns - window.start_ns == 1_500_000_000
    records = records_in(tmp_path)
    assert {record["user"] for record in records} == {0, 1, 2, 3}
    for record in records:
        assert window.swarm_start_ns <= record["intended_ns"] < window.end_ns
        assert record["end_ns"] <= window.drained_ns
        assert record["intended_ns"] <= record["sent_ns"] < record["event_ns"][0]
    by_user: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        by_user.setdefault(record["user"], []).append(record)
    for own in by_user.values():  # closed loop: nobody asks before being answered
        assert all(a["end_ns"] <= b["intended_ns"] for a, b in itertools.pairwise(own))
    assert result.harness["cpu_us_per_token"] > 0
    assert result.harness["loop_lag_p99_ms"] >= result.harness["loop_lag_p50_ms"] >= 0
    assert result.harness["requests_started"] == len(records)


@pytest.mark.parametrize("keeps_alive", [True, False])
def test_connections(serve: Any, wire: Any, tmp_path: Path, keeps_alive: bool) -> None:
    server = serve(paced(wire, 0.02))
    drive(plan_for(server.base_url, tmp_path, keeps_alive=keeps_alive))
    records = records_in(tmp_path)
    fresh = sum(not record["conn_reused"] for record in records)
    assert server.connections == fresh == (3 if keeps_alive else len(records))


def faults(wire: Any) -> tuple[Any, Counter[str]]:
    """Every seventh request alike; the ledger says what each was given."""
    ledger: Counter[str] = Counter()
    word, end = wire.chunk(wire.text("x")), wire.chunk(wire.DONE) + wire.LAST_CHUNK
    short = wire.chunk(wire.event({"choices": [], "usage": wire.usage(9, 1)}))
    error = wire.chunk(wire.event({"error": {"message": "boom"}}))
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
    given = [
        ("http_503", busy),
        ("not_sse", page),
        ("error_event", wire.HEAD + word + error + end),
        ("truncated", wire.HEAD + word),
        ("short", wire.HEAD + word + short + end),
        ("malformed", wire.HEAD + wire.chunk(b"data: {\n\n") + end),
    ]

    def answer(asked: Any, to: socket.socket) -> bool:
        place = asked.number % (len(given) + 1)
        if place == len(given):
            ledger["ok"] += 1
            to.sendall(wire.whole_answer(asked))
            return True
        ledger[given[place][0]] += 1
        to.sendall(given[place][1])
        return bool(given[place][0] != "truncated")

    return answer, ledger


def test_failures_by_class_are_the_ledgers(serve: Any, wire: Any, tmp_path: Path) -> None:
    answer, ledger = faults(wire)
    result = drive(plan_for(serve(answer).base_url, tmp_path))
    assert len(ledger) == 7
    assert result.outcomes == dict(ledger)
    assert result.invalid_reason is None


def test_in_flight_requests_are_awaited_then_cut(serve: Any, wire: Any, tmp_path: Path) -> None:
    patient, hasty = tmp_path / "patient", tmp_path / "hasty"
    slow = {"users": 2, "warmup_s": 0.0, "duration_s": 0.5}
    waited = drive(plan_for(serve(paced(wire, 1.0)).base_url, patient, drain_s=20.0, **slow))
    assert waited.outcomes == {"ok": 2}
    cut = drive(plan_for(serve(paced(wire, 5.0)).base_url, hasty, drain_s=0.2, **slow))
    assert cut.outcomes == {"interrupted": 2}
    assert all(record["events"] > 0 for record in records_in(hasty))


def test_ctrl_c_keeps_whole_records(serve: Any, wire: Any, tmp_path: Path) -> None:
    server = serve(paced(wire, 0.02))

    def ctrl_c(progress: Progress) -> None:
        if progress.phase == "window" and progress.finished > 3:
            raise KeyboardInterrupt

    result = drive(plan_for(server.base_url, tmp_path, duration_s=60.0), ctrl_c)
    assert result.interrupted
    assert [warning.name for warning in result.warnings] == ["stopped-early"]
    assert result.recorded == result.started == len(server.asked) == len(records_in(tmp_path))
    assert set(result.outcomes) <= {"ok", "interrupted"}
    assert result.outcomes["ok"] > 3
    assert result.window.start_ns is not None
    assert result.window.end_ns is not None
    assert result.window.end_ns - result.window.start_ns < 30e9
    assert not swarm_processes()


def test_a_killed_swarm_is_a_failure_and_keeps_its_records(
    serve: Any, wire: Any, tmp_path: Path
) -> None:
    def kill(progress: Progress) -> None:
        if progress.finished > 3:
            for process in swarm_processes():
                process.kill()

    server = serve(paced(wire, 0.02))
    with pytest.raises(RunFailed, match="ended: code -9"):
        drive(plan_for(server.base_url, tmp_path, duration_s=60.0), kill)
    assert len(records_in(tmp_path)) > 3
    assert all(record["outcome"] == "ok" for record in records_in(tmp_path))
    assert not (tmp_path / FACTS).exists()


def test_a_failing_callback_leaves_no_process(serve: Any, wire: Any, tmp_path: Path) -> None:
    def fail(progress: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drive(plan_for(serve(wire.good).base_url, tmp_path), fail)
    assert not swarm_processes()


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "orphan"])
def test_the_process_ends_at_once_when_told_or_orphaned(
    serve: Any, wire: Any, tmp_path: Path, how: str
) -> None:
    server = serve(paced(wire, 0.02))
    plan = plan_for(server.base_url, tmp_path, duration_s=300.0)
    (tmp_path / "plan.json").write_text(plan.dumps())
    reading, writing = os.pipe()
    command = [sys.executable, "-m", MODULE, str(tmp_path / "plan.json"), str(writing)]
    with subprocess.Popen(command, pass_fds=(writing,)) as process:
        os.close(writing)
        with os.fdopen(reading, "rb", buffering=0) as lines:
            while json.loads(lines.readline())["finished"] < 3:
                pass
            if how != "orphan":
                process.send_signal(signal.Signals[how])
                assert process.wait(20) == 0
        assert process.wait(20) == 0
    facts = json.loads((tmp_path / FACTS).read_text())
    assert facts["interrupted"]
    assert facts["started"] == facts["finished"]


def test_a_dead_server_is_not_hammered(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    result = drive(plan_for(f"http://127.0.0.1:{port}/v1", tmp_path))
    assert set(result.outcomes) == {"refused"}
    assert 3 <= result.recorded <= 3 * 20
    assert all(record["sent_ns"] is None for record in records_in(tmp_path))


def test_locusts_page_shows_the_truth(serve: Any, wire: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answer, _ = faults(wire)
    told: list[tuple[Progress, dict[str, Any]]] = []

    def look(progress: Progress) -> None:
        if progress.phase == "window":
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests") as reply:
                told.append((progress, json.load(reply)))

    drive(plan_for(serve(answer).base_url, tmp_path, ui_port=port, duration_s=3.0), look)
    assert told
    progress, page = told[0]
    total = page["stats"][-1]
    assert total["num_requests"] >= progress.finished > 0
    assert page["fail_ratio"] == pytest.approx(total["num_failures"] / total["num_requests"])
    assert total["num_failures"] >= progress.failures > 0


def test_users_changed_on_the_page_are_noticed(serve: Any, wire: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    asked: list[str] = []

    def change(progress: Progress) -> None:
        if progress.phase == "window" and not asked:
            asked.append(f"http://127.0.0.1:{port}/swarm")
            form = b"user_count=5&spawn_rate=5"
            with urllib.request.urlopen(asked[0], data=form) as reply:
                assert json.load(reply)["success"]

    server = serve(paced(wire, 0.02))
    plan = plan_for(server.base_url, tmp_path, ui_port=port, duration_s=4.0)
    result = drive(plan, change)
    assert "users-changed" in [warning.name for warning in result.warnings]
    assert max(record["user"] for record in records_in(tmp_path)) == 4
    assert result.recorded == result.started == len(server.asked)


def test_a_full_disk_ends_the_run_and_makes_it_invalid(
    serve: Any, wire: Any, tmp_path: Path
) -> None:
    """A limit on file sizes, which the swarm's process inherits, stands for the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def lift(progress: Progress) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    server = serve(paced(wire, 0.02))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        result = drive(plan_for(server.base_url, tmp_path, duration_s=60.0), lift)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.invalid_reason is not None
    assert "File too large" in result.invalid_reason
    assert 0 < result.recorded < result.started
    assert "records-missing" in [warning.name for warning in result.warnings]
    assert not result.interrupted


def test_tokens_are_stamped_as_they_come(serve: Any, wire: Any, tmp_path: Path) -> None:
    """Each stamp lies between the sending of its own event and that of the next; a reader that
    waits for a buffer to fill, or glues tokens, puts most of them later."""
    sent: dict[str, list[int]] = {}

    def answer(asked: Any, to: socket.socket) -> bool:
        own = sent.setdefault(asked.body["prompt"].split()[0], [])
        to.sendall(wire.HEAD)
        for number in range(asked.tokens):
            own.append(time.perf_counter_ns())
            to.sendall(wire.chunk(wire.text(f" {number}")))
            time.sleep(0.05)  # the server's own pace
        to.sendall(wire.chunk(wire.finish("length")) + wire.chunk(wire.DONE) + wire.LAST_CHUNK)
        return True

    drive(plan_for(serve(answer).base_url, tmp_path, duration_s=2.0))
    records = records_in(tmp_path)
    pairs = [(record["event_ns"], sent[record["id"]]) for record in records]
    assert pairs
    assert all(len(stamps) == len(own) == 8 for stamps, own in pairs)
    assert all(s >= o for stamps, own in pairs for s, o in zip(stamps, own, strict=True))
    prompt = [s < o for stamps, own in pairs for s, o in zip(stamps, own[1:], strict=False)]
    assert sum(prompt) > 0.8 * len(prompt)
    assert sum(stamps[0] < own[1] for stamps, own in pairs) > 0.8 * len(pairs)


def test_what_is_wrong_beforehand(serve: Any, wire: Any, tmp_path: Path) -> None:
    url = serve(wire.good).base_url
    with pytest.raises(UserMistake, match="0 users"):
        drive(plan_for(url, tmp_path, users=0))
    with pytest.raises(UserMistake, match="rate"):
        drive(plan_for(url, tmp_path, arrivals=Arrivals(kind="poisson")))
    with pytest.raises(BadFile, match="does not exist"):
        drive(plan_for(url, tmp_path, tokenizer=tmp_path / "none.json"))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortInUse):
        drive(plan_for(url, tmp_path, ui_port=taken.getsockname()[1]))
    (tmp_path / RECORDS).write_text("")
    with pytest.raises(BadFile, match="never overwritten"):
        drive(plan_for(url, tmp_path))
    assert not swarm_processes()


def test_a_broken_tokenizer_is_told_with_the_childs_words(
    serve: Any, wire: Any, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    plan = plan_for(serve(wire.good).base_url, tmp_path, tokenizer=tmp_path / "tokenizer.json")
    with pytest.raises(RunFailed, match="cannot be read"):
        drive(plan)


def test_too_many_users_for_one_process_are_warned_about(
    serve: Any, wire: Any, tmp_path: Path
) -> None:
    result = drive(plan_for(serve(paced(wire, 0.2)).base_url, tmp_path, users=65, duration_s=0.5))
    assert "users-over-process-cap" in [warning.name for warning in result.warnings]
    assert result.outcomes == {"ok": result.started}


def test_only_three_modules_know_locust_and_its_loop() -> None:
    import quantswarm.bench.load as package

    folder = Path(package.__path__[0])
    importing = {
        path.name
        for path in folder.glob("*.py")
        for line in path.read_text().splitlines()
        if line.split()[:2] in (["import", "locust"], ["import", "gevent"], ["from", "gevent"])
    }
    assert importing == {"crowd.py", "loop.py", "swarm_user.py"}
    code = "import sys, quantswarm.bench.load.swarm as s; print('gevent' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
