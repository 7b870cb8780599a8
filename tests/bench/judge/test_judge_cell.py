from pathlib import Path
from typing import Any

import pytest
from made_run import START, Load, S, failed, record, write_cell, write_run

from quantswarm.bench.judge.cell import CellResult, judge
from quantswarm.bench.judge.summary import cell_as_json
from quantswarm.models.errors import BadFile


def _judged(folder: Path, load: Load | None = None, **manifest: Any) -> CellResult:
    run_dir = write_run(folder / "run")
    return judge(write_cell(run_dir, "vllm", "fp32", load or Load(), **manifest))


def _names(result: CellResult) -> set[str]:
    return {warning["name"] for warning in result.warnings}


def test_a_known_load_gives_its_numbers_back(tmp_path: Path) -> None:
    result = _judged(tmp_path, Load(users=4, ttft_ms=60, itl_ms=8, tokens=64, window_s=40))
    assert result.status == "ok"
    assert result.reason is None
    assert result.latencies["ttft"].quantiles["p50"] == pytest.approx(60, abs=0.01)
    assert result.latencies["tpot"].quantiles["p50"] == pytest.approx(8, abs=0.01)
    assert result.latencies["e2e"].quantiles["p50"] == pytest.approx(60 + 63 * 8, abs=0.01)
    cycle_s = (60 + 63 * 8 + 1) / 1e3
    assert result.rates["output_throughput"] == pytest.approx(4 * 64 / cycle_s, rel=0.02)
    assert result.rates["concurrency"] == pytest.approx(4, rel=0.01)


def test_exactly_so_many_failures_each_in_its_class(tmp_path: Path) -> None:
    load = Load(fails=lambda n: {3: "reset", 7: "http_503"}.get(n % 10))
    result = _judged(tmp_path, load)
    started = [r for r in load.records() if START + 3 * S <= r["intended_ns"] < START + 23 * S]
    bad = [r["outcome"] for r in started if r["outcome"] != "ok"]
    assert (result.requests, result.failures) == (len(started), len(bad))
    assert result.failures_by_class == {k: bad.count(k) for k in ("http_503", "reset")}
    assert result.latencies["e2e"].n == len(started) - len(bad)
    assert {"failures", "failures-outside-window"} <= _names(result)


def test_a_cell_that_never_ran_has_its_reason_and_no_numbers(tmp_path: Path) -> None:
    result = _judged(tmp_path, measured=False, status="failed", reason="the server died")
    assert (result.status, result.reason) == ("failed", "the server died")
    assert (result.requests, result.failures) == (None, None)
    assert result.latencies == {}


def test_an_ok_cell_without_a_window_is_invalid(tmp_path: Path) -> None:
    result = _judged(tmp_path, measured=False)
    assert result.status == "invalid"


def test_an_ok_cell_without_records_is_no_cell(tmp_path: Path) -> None:
    folder = write_cell(write_run(tmp_path / "run"), "vllm", "fp32", Load())
    (folder / "records.jsonl").unlink()
    with pytest.raises(BadFile, match=r"records\.jsonl"):
        judge(folder)


def test_lost_records_make_a_cell_invalid(tmp_path: Path) -> None:
    count = len(Load().records())
    result = _judged(tmp_path, harness={"requests_started": count + 3})
    assert result.status == "invalid"
    assert result.reason == "3 requests were started and have no record"


def test_a_saturated_generator_makes_a_cell_invalid(tmp_path: Path) -> None:
    assert _judged(tmp_path, harness={"cpu_share": 0.97}).status == "invalid"


@pytest.mark.parametrize(
    ("itl_ms", "own_ms", "status"),
    [(5, 4.9, "ok"), (5, 5.1, "invalid"), (80, 7.9, "ok"), (80, 8.1, "invalid")],
)
def test_a_generator_behind_with_its_own_work_makes_a_cell_invalid(
    tmp_path: Path, itl_ms: int, own_ms: float, status: str
) -> None:
    """5 ms, or a tenth of the gap between tokens where that is more."""
    harness = {"cpu_share": 0.6, "own_lag_p99_ms": own_ms}
    result = _judged(tmp_path, Load(itl_ms=itl_ms), harness=harness)
    assert result.status == status
    assert (result.reason or "behind with its own work").find("behind with its own work") >= 0


def test_lateness_that_the_host_inflicted_is_a_warning_only(tmp_path: Path) -> None:
    harness = {"cpu_share": 0.04, "loop_lag_p99_ms": 90.0, "own_lag_p99_ms": 0.0}
    result = _judged(tmp_path, harness=harness)
    assert result.status == "ok"
    assert "client-could-not-keep-up" in _names(result)


def test_every_request_failed_is_failed(tmp_path: Path) -> None:
    result = _judged(tmp_path, records=[failed(i, START + 5 * S + i) for i in range(6)])
    assert result.status == "failed"
    assert result.reason == "all 6 requests failed (refused 6)"
    assert result.rates["output_throughput"] is None


def test_no_request_in_the_window_is_invalid(tmp_path: Path) -> None:
    assert _judged(tmp_path, records=[record(1, START)]).status == "invalid"


def test_warnings_of_the_measuring_come_first_and_are_not_said_twice(tmp_path: Path) -> None:
    given = {"name": "short-window", "seen": "a", "cause": "b", "advice": "c"}
    result = _judged(tmp_path, Load(window_s=4), warnings=[given])
    assert [w["seen"] for w in result.warnings if w["name"] == "short-window"] == ["a"]
    assert result.warnings[0] == given


def test_a_sound_cell_has_no_warnings(tmp_path: Path) -> None:
    load = Load(users=8, ttft_ms=20, itl_ms=5, tokens=32, window_s=30)
    result = _judged(tmp_path, load, harness={"cpu_share": 0.2, "loop_lag_p99_ms": 0.4})
    assert _names(result) == set()


@pytest.mark.parametrize(
    ("load", "manifest", "name"),
    [
        (Load(window_s=4), {}, "short-window"),
        (Load(window_s=12, itl_ms=100), {}, "short-window"),
        (Load(), {}, "too-few-requests-for-p99"),
        (Load(itl_ms=30), {}, "too-few-samples-for-itl-p99"),
        (Load(changed={"cached_tokens": 100}), {}, "cached-prompts"),
        (Load(changed={"coalesced": 9}), {}, "coalesced-events"),
        (Load(sent_after_ms=5), {}, "client-could-not-keep-up"),
        (Load(), {"harness": {"loop_lag_p99_ms": 9.0}}, "client-could-not-keep-up"),
        (Load(), {"harness": {"cpu_share": 0.85}}, "client-could-not-keep-up"),
    ],
)
def test_each_warning_is_raised(
    tmp_path: Path, load: Load, manifest: dict[str, Any], name: str
) -> None:
    result = _judged(tmp_path, load, **manifest)
    found = next(warning for warning in result.warnings if warning["name"] == name)
    assert all(found[key] for key in ("seen", "cause", "advice"))


def test_counts_that_differ_are_reported_and_not_mended(tmp_path: Path) -> None:
    load = Load()
    made = load.records()
    usage = [one | {"output_tokens": 40} for one in made]
    plain, odd = _judged(tmp_path / "a", load), _judged(tmp_path / "b", load, records=usage)
    assert "token-count-mismatch" in _names(odd)
    assert odd.rates["output_throughput"] == plain.rates["output_throughput"]
    silent = [one | {"output_tokens": None} for one in made]
    assert "no-usage" in _names(_judged(tmp_path / "c", load, records=silent))


def test_throughput_that_falls_is_not_steady(tmp_path: Path) -> None:
    made: list[dict[str, Any]] = []
    now = START + 3 * S
    while now < START + 23 * S:
        made.append(record(len(made), now))
        now += int(0.1 * S * 1.01 ** len(made))
    assert "not-steady" in _names(_judged(tmp_path, records=made))


def test_a_truncated_last_record_is_a_warning(tmp_path: Path) -> None:
    folder = write_cell(write_run(tmp_path / "run"), "vllm", "fp32", Load())
    path = folder / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    result = judge(folder)
    assert result.status == "ok"
    assert "truncated-record" in _names(result)


def test_a_hit_in_the_cache_is_a_flaw_only_where_nobody_meant_it(tmp_path: Path) -> None:
    half = Load(changed={"cached_tokens": 64})
    assert "cached-prompts" in _names(_judged(tmp_path / "a", half))
    meant = _names(_judged(tmp_path / "b", half, prefix_sharing=True))
    assert not {"cached-prompts", "prefix-cache-idle"} & meant
    assert "prefix-cache-idle" in _names(_judged(tmp_path / "c", prefix_sharing=True))
    silent = Load(changed={"cached_tokens": None})
    assert "prefix-cache-idle" not in _names(_judged(tmp_path / "d", silent, prefix_sharing=True))


def _turn(number: int, turn: int, prompt_tokens: int) -> dict[str, Any]:
    start = START + 4 * S + number * S
    where = {"conversation": "r0", "turn": turn, "part": "talk"}
    return record(number, start, prompt_tokens=prompt_tokens, **where)


def test_a_history_that_is_not_kept_is_said(tmp_path: Path) -> None:
    growing = [_turn(0, 1, 40), _turn(1, 2, 90), _turn(2, 3, 150)]
    assert "history-not-kept" not in _names(_judged(tmp_path / "a", records=growing))
    cut = [*growing[:2], _turn(2, 3, 80)]
    result = _judged(tmp_path / "b", records=cut)
    assert "1 of 2 later turns" in next(
        w["seen"] for w in result.warnings if w["name"] == "history-not-kept"
    )


def test_who_says_how_much_came_from_the_cache(tmp_path: Path) -> None:
    told = cell_as_json(_judged(tmp_path / "a", Load(changed={"cached_tokens": 32})))
    assert (told["prefix_hit_rate"], told["prefix_hit_source"]) == (0.25, "answers")
    silent = cell_as_json(_judged(tmp_path / "b", Load(changed={"cached_tokens": None})))
    assert (silent["prefix_hit_rate"], silent["prefix_hit_source"]) == (None, None)
