"""How a plan is divided, and what the parts add up to."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.load.arrivals import Arrivals
from quantswarm.bench.load.combine import combined
from quantswarm.bench.load.plan import SPOOL, SwarmPlan, loads
from quantswarm.bench.load.progress import Progress, together
from quantswarm.bench.load.scenario import Scenario
from quantswarm.bench.load.share import ALONE, Share, Split, check_split, split_of
from quantswarm.bench.load.tally import Tally, begun_in
from quantswarm.bench.load.warning import warnings_of
from quantswarm.models.errors import UserMistake


def plan_of(**fields: Any) -> SwarmPlan:
    return SwarmPlan(
        base_url="http://127.0.0.1:1/v1",
        served_name="m",
        scenario=Scenario(name="s", api="completions", prompt_tokens=32, output_tokens=4),
        out_dir=Path("out"),
        **{"users": 8, **fields},
    )


@given(total=st.integers(0, 500), of=st.integers(1, 20))
def test_every_number_is_in_exactly_one_share(total: int, of: int) -> None:
    shares = Split(processes=of, reason="").shares
    parts = [list(islice(share.numbers(), share.part(total))) for share in shares]
    assert sorted(number for part in parts for number in part) == list(range(total))
    for share, part in zip(shares, parts, strict=True):
        assert part == list(share.mine(range(total)))
        assert part == [share.number(nth) for nth in range(len(part))]
        assert all(number % of == share.worker for number in part)


def test_files_are_told_apart_only_where_there_are_several() -> None:
    folder = Path("folder")
    assert ALONE.path(folder, SPOOL) == folder / "swarm.spool"
    assert Share(worker=1, of=2).path(folder, SPOOL) == folder / "swarm.1.spool"


@pytest.mark.parametrize(
    ("fields", "processes", "says"),
    [
        ({"users": 64, "cores": (0, 1)}, 1, "64 streams at most"),
        ({"users": 65, "cores": (0, 1)}, 2, "65 streams at most"),
        ({"users": 65, "cores": (0,)}, 1, "has one core of its own"),
        ({"users": 65, "cores": ()}, 1, "has no core of its own"),
        ({"users": 640, "cores": (0, 1, 2)}, 3, "one process a core of 3"),
        ({"users": 0, "cores": (0, 1, 2, 3), "arrivals": Arrivals(rate=1.0)}, 4, "256 streams"),
        ({"users": 3, "cores": (0,), "processes": 2}, 2, "asked for"),
    ],
)
def test_the_number_of_processes_has_a_reason(
    fields: dict[str, Any], processes: int, says: str
) -> None:
    split = split_of(plan_of(**fields))
    assert split.processes == processes
    assert says in split.reason


def test_more_processes_than_work_are_refused() -> None:
    for fields in ({"users": 2}, {"users": 0, "arrivals": Arrivals(rate=1.0, max_in_flight=2)}):
        plan = plan_of(processes=3, **fields)
        with pytest.raises(UserMistake, match=r"3 processes.*there are 2"):
            check_split(plan, split_of(plan))
    nothing = plan_of(processes=0)
    with pytest.raises(UserMistake, match="at least one"):
        check_split(nothing, split_of(nothing))
    assert loads(plan_of(processes=3).dumps()).processes == 3


def test_a_tally_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "begun"
    assert begun_in(path) == 0
    tally = Tally(path)
    tally.begun += 3
    assert begun_in(path) == tally.begun == 3  # while it is still mapped: a kill changes nothing
    path.write_bytes(b"cut")
    assert begun_in(path) == 0


def test_facts_of_several_are_summed_pooled_or_the_worst() -> None:
    one = {"cpu_s": 1.0, "cpu_share": 0.2, "lag_ms": 1.0, "dispatch_delays_ns": [1, 2]}
    other = {"cpu_s": 2.0, "cpu_share": 0.4, "lag_ms": None, "dispatch_delays_ns": [3_000_000]}
    whole = combined([one, other], cores=2)
    assert (whole["cpu_s"], whole["cpu_share"], whole["lag_ms"]) == (3.0, 0.4, 1.0)
    assert whole["dispatch_delay_max_ms"] == 3.0
    assert whole["dispatch_delay_p50_ms"] == 2e-6
    assert "dispatch_delays_ns" not in whole
    assert [part["cpu_s"] for part in whole["workers"]] == [1.0, 2.0]
    shared = combined([one, other], cores=1)
    assert shared["cpu_share"] == pytest.approx(0.6)
    assert combined([], cores=1) == {}


def test_facts_of_one_process_stay_as_they_are() -> None:
    facts = {"cpu_share": 0.2, "users_seen": [3, 4], "scheduling": "real-time", "lag_ms": None}
    assert combined([facts], cores=1) == facts


def test_users_seen_by_several_are_bounds_of_their_sum() -> None:
    parts: list[dict[str, Any]] = [{"users_seen": [3]}, {"users_seen": [2, 4]}]
    assert combined(parts, cores=2)["users_seen"] == [5, 7]


def test_users_are_not_summed_where_a_process_was_stopped_before_it_counted() -> None:
    parts: list[dict[str, Any]] = [{"users_seen": [3]}, {"users_seen": []}]
    assert combined(parts, cores=2)["users_seen"] == []
    assert combined([{"scheduling": "a"}, {"scheduling": "b"}], cores=2)["scheduling"] == "a; b"


def test_progress_of_several_is_as_far_as_the_last_of_them() -> None:
    counts = {"users": 1, "started": 2, "finished": 1, "failures": 0, "tokens": 5}
    window = Progress(phase="window", elapsed_s=2.0, **counts)
    drain = Progress(phase="drain", elapsed_s=3.0, **counts)
    both = together([drain, window])
    assert (both.phase, both.elapsed_s, both.started, both.tokens) == ("window", 3.0, 4, 10)
    assert together([drain, None]).phase == "preparing"


def test_warnings_look_at_each_process() -> None:
    def names(plan: SwarmPlan, **harness: Any) -> list[str]:
        found = warnings_of(plan, harness, missing=0, interrupted=False)
        return [warning.name for warning in found]

    assert names(plan_of(users=128, cores=(0, 1)), processes=2) == []
    assert names(plan_of(users=129, cores=(0, 1)), processes=2) == ["users-over-process-cap"]
    assert names(plan_of(users=2, cores=(0,)), processes=2) == ["processes-share-cores"]
    loop = plan_of(users=0, arrivals=Arrivals(rate=1.0))
    workers = [{"most_in_flight": 60}, {"most_in_flight": 64}]
    assert names(loop, processes=2, most_in_flight=124, workers=workers) == []
    assert names(loop, most_in_flight=124) == ["users-over-process-cap"]
