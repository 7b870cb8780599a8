"""The swarm in several processes: the same plan as in one, and exact whichever of them dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from quantswarm.bench.load.arrivals import Arrivals
from quantswarm.bench.load.crew import MASTER, MODULE
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.progress import Progress
from quantswarm.bench.load.prompts import uid_of
from quantswarm.bench.load.scenario import Scenario
from quantswarm.bench.load.schedule import read_schedule
from quantswarm.bench.load.swarm import RECORDS, drive
from quantswarm.engines.process import ServerProcess
from quantswarm.engines.readiness import free_port
from quantswarm.models.errors import RunFailed

SCENARIO = Scenario(name="tiny", api="completions", prompt_tokens=32, output_tokens=6)
FAST = "ttft=10ms,itl=2ms"
GOOD = 30
STALLING = f"{FAST},fault=stall@index:{GOOD}..99999@token:3"
"""The first GOOD requests are answered; each later one stalls in the middle of its answer."""
WORKERS = 3


@dataclass
class Known:
    """A server of known latency and its ledger."""

    process: ServerProcess
    url: str
    file: Path

    def ledger(self) -> dict[str, dict[str, Any]]:
        """Every request it has received, by id, those under way among them."""
        with urllib.request.urlopen(f"{self.url}/ledger") as reply:
            lines = [json.loads(line) for line in reply.read().splitlines()]
        return {line["id"]: line for line in lines}


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Known]:
    port, ledger = free_port("127.0.0.1"), tmp_path / "ledger.jsonl"
    module = "quantswarm.engines.scripted.server_main"
    words = ["--port", str(port), "--ledger", str(ledger)]
    process = ServerProcess([sys.executable, "-m", module, *words], log=tmp_path / "server.log")
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until(lambda: _answers(f"{url}/health"))
        yield Known(process, url, ledger)
    finally:
        process.stop(grace_s=0)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _wait_until(holds: Callable[[], bool]) -> None:
    last_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < last_s, "not in 30 s"
        time.sleep(0.02)


def plan_for(server: Known, behaviour: str, out_dir: Path, **more: Any) -> SwarmPlan:
    fields: dict[str, Any] = {
        "users": 7,
        "warmup_s": 0.5,
        "duration_s": 2.0,
        "drain_s": 5.0,
        "processes": WORKERS,
        "cell": "cell",
    }
    return SwarmPlan(
        base_url=f"{server.url}/v1",
        served_name=f"scripted:{behaviour}",
        scenario=SCENARIO,
        out_dir=out_dir,
        **{**fields, **more},
    )


def records_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / RECORDS).read_text().splitlines()]


def processes(module: str = MODULE, worker: int | None = None) -> list[psutil.Process]:
    """Living processes of the swarm, of this test's process or orphaned."""
    place = [] if worker is None else [str(worker), str(WORKERS)]
    found: list[psutil.Process] = []
    for process in psutil.Process().children(recursive=True):
        words: list[str] = []
        with suppress(psutil.NoSuchProcess):  # it may have ended, and wait for its parent
            words = process.cmdline()
        if module in words and (not place or words[-2:] == place):
            found.append(process)
    return found


def nothing_left() -> bool:
    return not processes() and not processes(MASTER)


def test_a_closed_loop_is_the_one_process_plan_divided(known: Known, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[Progress] = []
    result = drive(plan_for(known, FAST, out), seen.append)
    records = records_in(out)
    assert (result.invalid_reason, result.interrupted) == (None, False)
    assert {record["id"] for record in records} == set(known.ledger())
    assert len(records) == result.started == result.recorded == len(known.ledger())
    assert result.outcomes == {"ok": len(records)}
    by_user: dict[int, list[str]] = {}
    for record in records:
        by_user.setdefault(record["user"], []).append(record["id"])
    assert set(by_user) == set(range(7))
    prompts = {uid_of(0, "cell", number): number for number in range(20 * len(records))}
    for worker in range(WORKERS):
        own = [uid for user in range(worker, 7, WORKERS) for uid in by_user[user]]
        numbers = sorted(prompts[uid] for uid in own)
        assert numbers == [worker + nth * WORKERS for nth in range(len(own))]
    begin_ns = result.window.swarm_start_ns
    assert begin_ns is not None
    for user in by_user:  # the stagger of one process: half the warm-up over all users
        first_ns = min(record["intended_ns"] for record in records if record["user"] == user)
        assert first_ns >= begin_ns + int(user * 0.5 / 2 / 7 * 1e9)
    ends = [record["end_ns"] for record in records]
    assert ends == sorted(ends)
    assert seen[-1].finished == seen[-1].started == len(records)
    assert max(progress.users for progress in seen) == 7
    assert nothing_left()
    assert not {path.suffix for path in out.iterdir()} & {".spool", ".begun"}


def test_facts_are_of_each_process_and_of_all(known: Known, tmp_path: Path) -> None:
    result = drive(
        plan_for(known, FAST, tmp_path / "out", cores=tuple(os.sched_getaffinity(0))[:1])
    )
    harness = result.harness
    workers = harness["workers"]
    assert (harness["processes"], harness["processes_reason"]) == (WORKERS, "asked for")
    assert len(workers) == WORKERS
    assert harness["cpu_s"] == pytest.approx(sum(one["cpu_s"] for one in workers))
    assert harness["cpu_share"] == pytest.approx(sum(one["cpu_share"] for one in workers))
    assert harness["requests_started"] == sum(one["requests_started"] for one in workers)
    assert harness["loop_lag_p99_ms"] == max(one["loop_lag_p99_ms"] for one in workers)
    assert harness["users_seen"] == [7]
    assert harness["master_cpu_s"] > 0
    assert "processes-share-cores" in [warning.name for warning in result.warnings]


def test_an_open_loop_is_the_one_process_plan_divided(known: Known, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arrivals = Arrivals(kind="poisson", rate=40.0)
    plan = plan_for(known, FAST, out, users=0, arrivals=arrivals)
    result = drive(plan)
    schedule, records = read_schedule(out), records_in(out)
    begin_ns = result.window.swarm_start_ns
    assert begin_ns is not None
    planned = {a.index: (uid_of(0, "cell", a.index), begin_ns + a.offset_ns) for a in schedule}
    assert {r["user"]: (r["id"], r["intended_ns"]) for r in records} == planned
    assert len(records) == len(planned) == result.started == len(known.ledger())
    assert all(record["sent_ns"] >= record["intended_ns"] for record in records)
    assert result.harness["arrivals_planned"] == len(schedule)
    assert result.harness["arrivals_dropped"] == 0
    assert result.harness["dispatch_delay_p50_ms"] <= result.harness["dispatch_delay_p99_ms"]
    assert result.invalid_reason is None or "missed" in result.invalid_reason


def test_the_cap_of_an_open_loop_is_divided_and_its_drops_are_exact(
    known: Known, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arrivals = Arrivals(kind="constant", rate=40.0, max_in_flight=4)
    stalling = plan_for(known, "fault=stall@token:1", out, users=0, arrivals=arrivals, drain_s=0.2)
    result = drive(stalling)
    records = records_in(out)
    by_outcome = Counter(record["outcome"] for record in records)
    assert by_outcome == {"interrupted": 4, "dropped": len(read_schedule(out)) - 4}
    assert len(known.ledger()) == 4
    assert result.harness["arrivals_dropped"] == by_outcome["dropped"]
    assert result.harness["most_in_flight"] == 4
    sent = [r["user"] for r in records if r["outcome"] == "interrupted"]
    assert Counter(user % WORKERS for user in sent) == {0: 2, 1: 1, 2: 1}


def when_stalled(users: int, act: Callable[[], object]) -> Callable[[Progress], None]:
    """Acts once, when GOOD requests are answered and everybody hangs in another."""
    done: list[bool] = []

    def look(progress: Progress) -> None:
        stalled = progress.started - progress.finished
        if (progress.finished, stalled) == (GOOD, users) and not done:
            done.append(True)
            act()

    return look


def test_a_killed_worker_makes_the_run_invalid_and_every_request_is_accounted_for(
    known: Known, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ledger: dict[str, Any] = {}

    def kill() -> None:
        ledger.update(known.ledger())
        for process in processes(worker=1):
            process.kill()

    result = drive(plan_for(known, STALLING, out, duration_s=300.0), when_stalled(7, kill))
    ids = {record["id"] for record in records_in(out)}
    assert len(ledger) == GOOD + 7 == result.started
    assert ids < set(ledger)  # none is invented
    assert set(known.ledger()) == set(ledger)  # and the others asked no more
    assert len(ledger) - len(ids) == 2  # users 1 and 4 were the dead worker's
    assert result.outcomes == {"ok": GOOD, "interrupted": 5}
    assert result.invalid_reason is not None
    assert "worker 1 of 3 was lost (ended: code -9)" in result.invalid_reason
    assert f"2 of {GOOD + 7} requests left no record" in result.invalid_reason
    assert "its log is empty" in result.invalid_reason
    assert "records-missing" in [warning.name for warning in result.warnings]
    assert not result.interrupted
    assert nothing_left()


def test_a_killed_server_gives_exactly_the_good_ones_and_ends(known: Known, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ledger: dict[str, Any] = {}

    def kill() -> None:
        ledger.update(known.ledger())
        os.kill(known.process.pid, signal.SIGKILL)

    result = drive(plan_for(known, STALLING, out, duration_s=8.0), when_stalled(7, kill))
    records = records_in(out)
    good = {record["id"] for record in records if record["outcome"] == "ok"}
    assert good == {uid for uid, entry in ledger.items() if entry["outcome"] == "ok"}
    assert len(good) == GOOD
    cut = [record for record in records if record["outcome"] in ("reset", "truncated")]
    assert {record["id"] for record in cut} == set(ledger) - good
    assert set(result.outcomes) - {"reset", "truncated"} == {"ok", "refused"}
    assert sum(result.outcomes.values()) == result.recorded == result.started
    assert result.invalid_reason is None
    assert nothing_left()


def test_ctrl_c_keeps_every_request_of_every_process(known: Known, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def ctrl_c() -> None:
        raise KeyboardInterrupt

    result = drive(plan_for(known, STALLING, out, duration_s=300.0), when_stalled(7, ctrl_c))
    assert result.interrupted
    assert result.invalid_reason is None
    assert result.outcomes == {"ok": GOOD, "interrupted": 7}
    assert {record["id"] for record in records_in(out)} == set(known.ledger())
    assert [warning.name for warning in result.warnings] == ["stopped-early"]
    assert nothing_left()


def test_a_lost_master_ends_the_run(known: Known, tmp_path: Path) -> None:
    def kill() -> None:
        for process in processes(MASTER):
            process.kill()

    plan = plan_for(known, STALLING, tmp_path / "out", duration_s=300.0)
    result = drive(plan, when_stalled(7, kill))
    assert "Locust's master was lost" in (result.invalid_reason or "")
    assert result.outcomes == {"ok": GOOD, "interrupted": 7}
    assert nothing_left()


def test_a_mistake_in_all_of_them_is_told_with_their_words(known: Known, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    plan = plan_for(known, FAST, tmp_path / "out", tokenizer=tmp_path / "tokenizer.json")
    with pytest.raises(RunFailed, match="cannot be read"):
        drive(plan)
    assert nothing_left()


def test_nothing_outlives_a_killed_parent(known: Known, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "plan.json").write_text(plan_for(known, FAST, out, duration_s=300.0).dumps())
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from quantswarm.bench.load.plan import loads\n"
        "from quantswarm.bench.load.swarm import drive\n"
        "plan = loads(Path(sys.argv[1]).read_text())\n"
        "drive(plan, lambda seen: print(seen.finished, flush=True))\n"
    )
    command = [sys.executable, "-c", code, str(out / "plan.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        while int(parent.stdout.readline()) < GOOD:
            pass
        crew = [*processes(), *processes(MASTER)]
        parent.kill()
    assert len(crew) == WORKERS + 1
    _, alive = psutil.wait_procs(crew, timeout=30)
    assert not alive


def test_locusts_page_counts_all_processes(known: Known, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    told: list[dict[str, Any]] = []

    def look(progress: Progress) -> None:
        if progress.phase == "window":
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests") as reply:
                told.append(json.load(reply))

    result = drive(plan_for(known, FAST, tmp_path / "out", ui_port=port, duration_s=6.0), look)
    page = told[-1]
    assert len(page["workers"]) == WORKERS
    assert {worker["user_count"] for worker in page["workers"]} == {3, 2}
    assert page["user_count"] == 7
    assert 0 < page["stats"][-1]["num_requests"] <= result.started
